// SPDX-License-Identifier: MIT

// Binary search over runs, without a branch that could be predicted wrongly.

import CBenchmark
public import PagePermutation

/// Runs in ascending order, searched by halves.
public struct SortedRuns: PageLookup, ~Copyable {
    public let place: ImagePlace
    private let table: LookupMemory
    private let forward: UInt64
    private let inverse: UInt64
    /// Where the runs of the inverse begin, in bytes.
    private let inverseStart: Int

    public init(_ table: TranslationTable) {
        place = ImagePlace(table)
        let runs = [Run.all(table.forward), Run.all(table.inverse)]
        forward = UInt64(runs[0].count)
        inverse = UInt64(runs[1].count)
        inverseStart = 64 * lines(8 * runs[0].count)
        var memory = LookupMemory(byteCount: inverseStart + 8 * runs[1].count)
        for (i, run) in runs[0].enumerated() { memory.store(run, 0, i) }
        for (i, run) in runs[1].enumerated() { memory.store(run, inverseStart, i) }
        self.table = memory
    }

    public var name: String { "sorted runs, binary search" }
    public var tableBytes: Int { table.byteCount }
    public var cacheLines: Int { 1 + min(bitWidth(max(forward, inverse)), lines(8 * Int(max(forward, inverse)))) }
    public var orderDependence: String? { "bytes, steps: the number of runs" }
    public var memory: UnsafeRawBufferPointer { unsafe table.bytes }

    @inline(__always)
    private func search(_ start: Int, _ count: UInt64, _ number: UInt64) -> UInt64 {
        var base: UInt64 = 0
        var count = count
        while count > 1 {
            let half = count >> 1
            let middle = table.load(start, base &+ half, as: Run.self)
            base &+= half & ifAtMost(UInt64(middle.first), number)
            count &-= half
        }
        return table.load(start, base, as: Run.self).other(number)
    }

    @inline(__always)
    public func frame(of page: UInt64) -> UInt64 { search(0, forward, page) }

    @inline(__always)
    public func page(in frame: UInt64) -> UInt64 { search(inverseStart, inverse, frame) }
}

/// All ones if `a` is at most `b`, else 0. `opaque` keeps the compiler from making a branch of it, which would be predicted
/// wrongly every other time.
@inline(__always)
func ifAtMost(_ a: UInt64, _ b: UInt64) -> UInt64 { opaque(a <= b ? .max : 0) }

/// The number of bits that a number needs: the steps of a search among so many, and one.
func bitWidth(_ number: UInt64) -> Int { UInt64.bitWidth - number.leadingZeroBitCount }
