// SPDX-License-Identifier: MIT

// A kernel that notes what it translates while it runs, for an audit: never what
// `permute` gives. The notes are counters, one set for each register that is
// looked at, and a hash table of the addresses of the image that were seen:
//
//     counters: reached, with an address of the image, without a slot   u64 each
//     slots:    1 << 63 | number << 32 | offset in the image, count   u64 each

public import Addressing
public import Disassembly

/// What is changed for it, and how its notes are read.
public struct Instrumentation: Sendable {
    /// A register that is looked at.
    public struct Note: Equatable, Sendable {
        /// The instructions that read the offset which is added here.
        public internal(set) var sites: [VirtualAddress]
        /// The instruction before which the register holds the address.
        public let place: VirtualAddress
        public let register: GeneralRegister
    }

    /// What was noted at one place.
    public struct Observation: Equatable, Sendable {
        public let note: Note
        /// How often the place was reached, and how often of that with an address of the image.
        public let reached: UInt64
        public let ofImage: UInt64
        /// How often of that no room was left to say which.
        public let lost: UInt64
        /// Those addresses, as offsets in the image, ascending.
        public let addresses: [(offset: UInt64, count: UInt64)]

        public static func == (left: Observation, right: Observation) -> Bool {
            left.note == right.note && left.reached == right.reached && left.ofImage == right.ofImage
                && left.lost == right.lost && left.addresses.elementsEqual(right.addresses, by: ==)
        }
    }

    static let slotCount = 8192
    private static let counterBytes = 24
    private static let slotBytes = 16

    /// Where the kernel sees its notes, as linked; whole pages.
    public let range: Range<VirtualAddress>
    public internal(set) var notes: [Note] = []
    /// Sites that are not observed, and why.
    public internal(set) var left: [(address: VirtualAddress, reason: String)] = []
    var changes: [Change] = []

    init(range: Range<VirtualAddress>) { self.range = range }

    /// Whole pages.
    static func byteCount(looks: Int) -> Int {
        (counterBytes * looks + slotBytes * slotCount + pageSize - 1) / pageSize * pageSize
    }

    /// Where the slots begin in the notes, in bytes.
    var slotsOffset: Int { Int(range.upperBound - range.lowerBound) - Self.slotBytes * Self.slotCount }

    /// What a kernel noted.
    ///
    /// - Parameter bytes: the memory at `range`.
    /// - Returns: one for each note, or nil when these are no notes of this kernel.
    public func read(_ bytes: [UInt8]) -> [Observation]? {
        guard bytes.count == Int(range.upperBound - range.lowerBound) else { return nil }
        func word(_ offset: Int) -> UInt64 {
            bytes[offset..<offset + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        var addresses = [[(offset: UInt64, count: UInt64)]](repeating: [], count: notes.count)
        for slot in 0..<Self.slotCount {
            let at = slotsOffset + slot * Self.slotBytes
            let key = word(at)
            if key == 0 { continue }
            let number = Int(key >> 32 & 0x7fff_ffff)
            guard key >> 63 == 1, number < notes.count else { return nil }
            addresses[number].append((key & 0xffff_ffff, word(at + 8)))
        }
        return notes.enumerated().map { number, note in
            let at = number * Self.counterBytes
            return Observation(
                note: note, reached: word(at), ofImage: word(at + 8), lost: word(at + 16),
                addresses: addresses[number].sorted { $0.offset < $1.offset })
        }
    }
}
