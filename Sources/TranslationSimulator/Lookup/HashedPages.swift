// SPDX-License-Identifier: MIT

// The pages that moved, by hash, with open addressing: small where few move,
// and twice the flat table and more where most do.

public import PagePermutation

/// A hash table, at most half full; what it does not hold did not move.
public struct HashedPages: PageLookup, ~Copyable {
    private struct Slot: BitwiseCopyable {
        var number: UInt32
        var other: UInt32
    }

    private static let empty = UInt32.max

    public let place: ImagePlace
    private let table: LookupMemory
    private let slots: UInt64
    private let shift: UInt64
    /// The longest way from where a number belongs to where it stands or where an empty slot says that it does not.
    private let longestProbe: Int
    private let inverseStart: Int

    public init(_ table: TranslationTable) {
        place = ImagePlace(table)
        var bits = 1
        while 1 << bits < 2 * table.movedCount + 2 { bits += 1 }
        slots = 1 << bits
        shift = UInt64(32 - bits)
        inverseStart = 8 << bits
        var memory = LookupMemory(byteCount: 2 * inverseStart)
        var longest = 1
        for (start, entries) in zip([0, inverseStart], [table.forward, table.inverse]) {
            var filled = [Slot](repeating: Slot(number: Self.empty, other: 0), count: 1 << bits)
            for (i, other) in entries.enumerated() where other != UInt32(i) {
                var slot = Int(Self.hash(UInt64(i), shift))
                while filled[slot].number != Self.empty { slot = (slot + 1) & (filled.count - 1) }
                filled[slot] = Slot(number: UInt32(i), other: other)
            }
            for (i, slot) in filled.enumerated() { memory.store(slot, start, i) }
            var probe = 0
            for slot in filled + filled {
                probe = slot.number == Self.empty ? 1 : probe + 1
                longest = max(longest, probe)
            }
        }
        longestProbe = longest
        self.table = memory
    }

    public var name: String { "hash of moved pages" }
    public var tableBytes: Int { table.byteCount }
    public var cacheLines: Int { 2 + lines(8 * longestProbe) }
    public var orderDependence: String? { "bytes: the number of moved pages; probes: where their hashes meet" }
    public var memory: UnsafeRawBufferPointer { unsafe table.bytes }

    /// Fibonacci hashing: the high bits of a product.
    @inline(__always)
    private static func hash(_ number: UInt64, _ shift: UInt64) -> UInt64 {
        UInt64(UInt32(truncatingIfNeeded: number) &* 0x9e37_79b9) &>> shift
    }

    @inline(__always)
    private func find(_ start: Int, _ number: UInt64) -> UInt64 {
        var index = Self.hash(number, shift)
        while true {
            let slot = table.load(start, index, as: Slot.self)
            if UInt64(slot.number) == number { return UInt64(slot.other) }
            if slot.number == Self.empty { return number }
            index = (index &+ 1) & (slots &- 1)
        }
    }

    @inline(__always)
    public func frame(of page: UInt64) -> UInt64 { find(0, page) }

    @inline(__always)
    public func page(in frame: UInt64) -> UInt64 { find(inverseStart, frame) }
}
