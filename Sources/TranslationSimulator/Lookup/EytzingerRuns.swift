// SPDX-License-Identifier: MIT

// The same runs in the order of a breadth-first walk of the search tree
// (Eytzinger's): the first three levels share a cache line, and what is read
// next stands at twice the index.

public import PagePermutation

/// Runs as an implicit search tree; entry 0 is not used.
public struct EytzingerRuns: PageLookup, ~Copyable {
    public let place: ImagePlace
    private let table: LookupMemory
    private let forward: UInt64
    private let inverse: UInt64
    /// Where the tree of the inverse begins, in bytes.
    private let inverseStart: Int

    public init(_ table: TranslationTable) {
        place = ImagePlace(table)
        let runs = [Run.all(table.forward), Run.all(table.inverse)]
        forward = UInt64(runs[0].count)
        inverse = UInt64(runs[1].count)
        inverseStart = 64 * lines(8 * (runs[0].count + 1))
        var memory = LookupMemory(byteCount: inverseStart + 8 * (runs[1].count + 1))
        for (start, sorted) in zip([0, inverseStart], runs) {
            var next = 0
            Self.fill(&memory, start, 1, sorted, &next)
        }
        self.table = memory
    }

    private static func fill(
        _ memory: inout LookupMemory, _ start: Int, _ node: Int, _ sorted: [Run], _ next: inout Int
    ) {
        guard node <= sorted.count else { return }
        fill(&memory, start, 2 * node, sorted, &next)
        memory.store(sorted[next], start, node)
        next += 1
        fill(&memory, start, 2 * node + 1, sorted, &next)
    }

    public var name: String { "sorted runs, Eytzinger" }
    public var tableBytes: Int { table.byteCount }
    public var cacheLines: Int { 2 + max(0, bitWidth(max(forward, inverse)) - 3) }
    public var orderDependence: String? { "bytes, steps: the number of runs" }
    public var memory: UnsafeRawBufferPointer { unsafe table.bytes }

    /// The last node at which the walk went right holds the run: the bits of the final index behind its last 1 are the
    /// steps to the left that followed. On the last level, which may have gaps, those step left whose node is missing.
    @inline(__always)
    private func search(_ start: Int, _ count: UInt64, _ number: UInt64) -> UInt64 {
        var node: UInt64 = 1
        for _ in 0..<(UInt64.bitWidth &- 1 &- count.leadingZeroBitCount) {
            node = step(start, node, number)
        }
        let there = ifAtMost(node, count)
        node = step(start, node & there, number) & there | 2 &* node & ~there
        node = node &>> UInt64(truncatingIfNeeded: node.trailingZeroBitCount &+ 1)
        return table.load(start, node, as: Run.self).other(number)
    }

    @inline(__always)
    private func step(_ start: Int, _ node: UInt64, _ number: UInt64) -> UInt64 {
        let first = UInt64(table.load(start, node, as: Run.self).first)
        return 2 &* node &- ifAtMost(first, number)
    }

    @inline(__always)
    public func frame(of page: UInt64) -> UInt64 { search(0, forward, page) }

    @inline(__always)
    public func page(in frame: UInt64) -> UInt64 { search(inverseStart, inverse, frame) }
}
