// SPDX-License-Identifier: MIT

// A kernel that notes what it translates while it runs, for an audit: never what
// `permute` gives. The notes are counters, one set for each register that is
// looked at, and a hash table of the addresses of the image that were seen:
//
//     counters: reached, with an address of the image, without a slot   u64 each
//     slots:    1 << 63 | number << 32 | offset in the image, count,
//               the first result, how often it was another one          u64 each
//
// Where translations ask a table, what comes out is noted, too; elsewhere it is not
// known yet where the address is, and 0 is noted.

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
        /// Whether the address came out of a physical one.
        public var isReverse = false
        /// How many bits of a physical address come out of a table here; nil where none is asked.
        public var resultBits: Int?

        public var asksTable: Bool { resultBits != nil }

        /// Whether a result is a physical address. START_KERNEL_MAP may be taken off later than where it is noted.
        public func hasResult(_ result: UInt64, for address: PhysicalAddress) -> Bool {
            let mask = resultBits == 32 ? UInt64(UInt32.max) : .max
            return [0, Self.startKernelMap].contains { (address.rawValue &+ $0) & mask == result & mask }
        }

        private static let startKernelMap: UInt64 = 0xffff_ffff_8000_0000
    }

    /// An address that was noted.
    public struct Seen: Equatable, Sendable {
        /// In the image, in bytes.
        public let offset: UInt64
        public let count: UInt64
        /// What it was translated to the first time, where that is noted.
        public var result: UInt64 = 0
        /// How often it was translated to something else.
        public var others: UInt64 = 0
    }

    /// What was noted at one place.
    public struct Observation: Equatable, Sendable {
        public let note: Note
        /// How often the place was reached, and how often of that with an address of the image.
        public let reached: UInt64
        public let ofImage: UInt64
        /// How often of that no room was left to say which.
        public let lost: UInt64
        /// Those addresses, ascending.
        public let addresses: [Seen]
    }

    static let slotCount = 8192
    private static let counterBytes = 24
    private static let slotBytes = 32

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
        var addresses = [[Seen]](repeating: [], count: notes.count)
        for slot in 0..<Self.slotCount {
            let at = slotsOffset + slot * Self.slotBytes
            let key = word(at)
            if key == 0 { continue }
            let number = Int(key >> 32 & 0x7fff_ffff)
            guard key >> 63 == 1, number < notes.count else { return nil }
            addresses[number].append(
                Seen(offset: key & 0xffff_ffff, count: word(at + 8), result: word(at + 16), others: word(at + 24)))
        }
        return notes.enumerated().map { number, note in
            let at = number * Self.counterBytes
            return Observation(
                note: note, reached: word(at), ofImage: word(at + 8), lost: word(at + 16),
                addresses: addresses[number].sorted { $0.offset < $1.offset })
        }
    }
}
