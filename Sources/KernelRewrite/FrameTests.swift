// SPDX-License-Identifier: MIT

// Where a kernel goes by ranges of frames: it compares a frame with those that
// the pages from one marker of the linker's to another would have if nothing had
// moved. While every class of pages keeps its frames among itself such a
// comparison stays right. When pages trade places across classes, the frames of a
// class are no range any more, and each of them has to ask which page a frame
// holds.

public import Addressing
public import Disassembly

/// An instruction that asks for the page of a frame, or is told what one before it was answered.
public struct FrameStep: Equatable, Sendable {
    /// Whether a page of a class lies in one of some frames.
    public struct Question: Equatable, Sendable {
        /// What holds the beginning of the range that the frames were compared with, at `look.place`.
        public let start: GeneralRegister
        /// How far that beginning is from the image's: in pages or, of addresses, in bytes.
        public let offset: Int
        /// What hold the first and the last of the frames there, as numbers or as addresses in the linear map.
        public let low: GeneralRegister
        public let high: GeneralRegister
        public let isAddress: Bool
        /// Whether the last is itself meant.
        public let isInclusive: Bool
        /// Pages of the image.
        public let pages: Range<Int>

        public init(
            start: GeneralRegister, offset: Int, low: GeneralRegister, high: GeneralRegister, isAddress: Bool,
            isInclusive: Bool, pages: Range<Int>
        ) {
            self.start = start
            self.offset = offset
            self.low = low
            self.high = high
            self.isAddress = isAddress
            self.isInclusive = isInclusive
            self.pages = pages
        }
    }

    public enum Work: Equatable, Sendable {
        /// `look.register` is compared with `bound`, and what follows takes it to overlap the range when it is beyond
        /// (`isBeyond`) or before that: it shall do so when the answer is yes, and only then.
        case compare(bound: GeneralRegister, isBeyond: Bool, Question)
        /// The same, behind the comparison that has asked: it shall find that they overlap.
        case agree(bound: GeneralRegister, isBeyond: Bool)
        /// `look.register` holds the address that a page of the image would have if nothing had moved, made from its
        /// frame: it shall be that of the page in the frame.
        case name
    }

    public let look: ObservedSite.Look
    public let work: Work
    /// Why, for the list of changes.
    public let reason: String
    /// The instruction that shows it, and what it is about.
    public let evidence: String

    public init(_ look: ObservedSite.Look, _ work: Work, reason: String, evidence: String) {
        self.look = look
        self.work = work
        self.reason = reason
        self.evidence = evidence
    }
}

/// All places where a kernel goes by ranges of frames.
public struct FrameTests: Sendable {
    /// A place that is right all the same.
    public struct Harmless: Sendable {
        public let address: VirtualAddress
        /// The function, with the offset in it.
        public let place: String
        public let reason: String

        public init(address: VirtualAddress, place: String, reason: String) {
            self.address = address
            self.place = place
            self.reason = reason
        }
    }

    public let steps: [FrameStep]
    public let harmless: [Harmless]

    public init(steps: [FrameStep], harmless: [Harmless]) {
        self.steps = steps
        self.harmless = harmless
    }

    /// As detours take them.
    var sites: [ObservedSite] { steps.map { ObservedSite(address: $0.look.place, looks: [$0.look]) } }

    func step(at place: VirtualAddress) -> FrameStep? { steps.first { $0.look.place == place } }
}
