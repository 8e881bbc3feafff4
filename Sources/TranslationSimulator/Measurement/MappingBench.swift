// SPDX-License-Identifier: MIT

// What it costs that a permuted image is mapped in pages of 4 KB: the same bytes
// in both kinds of mapping, read and executed in the same order. Each page has
// one line, at a place that its number decides: a word of data, 0, and the code
// of a function that gives its argument back.

import CBenchmark
import Glibc

/// What one reference takes in one kind of mapping.
public struct MappingTiming: Encodable, Sendable {
    public enum Reference: String, Encodable, CaseIterable, Sendable { case data, code }

    public let mapping: String
    public let reference: Reference
    public let pattern: String
    public let ticks: Percentiles
}

/// Mappings of the size of an image, to be walked through.
public struct MappingBench: ~Copyable {
    private let small: HugeMemory
    private let large: HugeMemory
    private let clock: TickClock

    /// How the large pages were got.
    public var means: String { large.means.rawValue }

    /// Why there is nothing to compare.
    public struct Unavailable: Error, CustomStringConvertible {
        public let description: String
    }

    public init(pages: Int, clock: TickClock) throws(Unavailable) {
        self.clock = clock
        guard let small = HugeMemory(byteCount: pages << 12, pages: .small),
            let large = HugeMemory(byteCount: pages << 12, pages: .large)
        else { throw Unavailable(description: "no memory for mappings of \(pages) pages") }
        guard Self.fill(small, pages), Self.fill(large, pages) else {
            throw Unavailable(description: "this system does not let memory be executed that was written before")
        }
        guard large.largeBytes() == large.byteCount, small.largeBytes() == 0 else {
            throw Unavailable(
                description:
                    "\(large.means.rawValue) gave \(large.largeBytes() >> 20) of \(large.byteCount >> 20) MB in "
                    + "pages of 2 MB (see /sys/kernel/mm/transparent_hugepage/enabled)")
        }
        self.small = small
        self.large = large
    }

    private static let codeOffset = 8

    /// Where the line of a page is, in bytes from the beginning: spread over the cache's sets.
    private static func place(_ page: UInt32) -> UInt64 {
        UInt64(page) << 12 | UInt64((page &* 0x9e37_79b9) >> 26) << 6
    }

    /// Writes every page's line; false if it cannot be made executable then.
    private static func fill(_ memory: borrowing HugeMemory, _ pages: Int) -> Bool {
        let code: [UInt8] = [0x48, 0x89, 0xf8, 0xc3]  // mov %rdi,%rax; ret
        for page in 0..<UInt32(pages) {
            for (i, byte) in code.enumerated() {
                unsafe memory.base.storeBytes(of: byte, toByteOffset: Int(place(page)) + codeOffset + i, as: UInt8.self)
            }
        }
        // Large pages are given when their first byte is touched: those behind the image's last page, too.
        for offset in stride(from: 0, to: memory.byteCount, by: 4096) {
            unsafe memory.base.storeBytes(of: 0, toByteOffset: offset + 4088, as: UInt64.self)
        }
        return memory.seal()
    }

    /// Reads and executes the pages of a pattern in both mappings.
    public func measure(_ pattern: AccessPattern, _ effort: BenchEffort) -> [MappingTiming] {
        let places = pattern.pages.map(Self.place)
        let count = LookupBench.batch
        let batches = 0..<places.count / count
        var times: [MappingTiming.Reference: (small: [UInt64], large: [UInt64])] = [:]
        for _ in 0..<max(2, effort.rounds / 8) {
            for reference in MappingTiming.Reference.allCases {
                var turn: (small: [UInt64], large: [UInt64]) = times[reference] ?? ([], [])
                // The first time is not counted: it brings the lines into the caches.
                for pass in 0...1 {
                    let some = unsafe Self.time(reference, small.base, places, batches, count)
                    if pass == 1 { turn.small += some }
                }
                for pass in 0...1 {
                    let some = unsafe Self.time(reference, large.base, places, batches, count)
                    if pass == 1 { turn.large += some }
                }
                times[reference] = turn
            }
        }
        return MappingTiming.Reference.allCases.flatMap { reference in
            let (small, large) = times[reference] ?? ([], [])
            return [("4K", small), ("2M", large)].map { name, times in
                MappingTiming(
                    mapping: name, reference: reference, pattern: pattern.name,
                    ticks: Percentiles(times, overhead: clock.overhead, operations: count))
            }
        }
    }

    private static func time(
        _ reference: MappingTiming.Reference, _ base: UnsafeMutableRawPointer, _ places: [UInt64],
        _ batches: Range<Int>, _ count: Int
    ) -> [UInt64] {
        unsafe places.withUnsafeBufferPointer { places in
            guard let first = places.baseAddress else { return [] }
            return batches.map { batch in
                let start = ticks()
                switch reference {
                case .data: consume(unsafe read(base, first + batch * count, count))
                case .code: consume(unsafe call(base, first + batch * count, count))
                }
                return ticks() - start
            }
        }
    }

    /// Loads each of which waits for the one before: what is read is 0, but nobody knows.
    @inline(never)
    private static func read(_ base: UnsafeMutableRawPointer, _ places: UnsafePointer<UInt64>, _ count: Int) -> UInt64 {
        var last: UInt64 = 0
        for i in 0..<count {
            let place = Int(truncatingIfNeeded: unsafe places[i] &+ last)
            last = opaque(unsafe base.load(fromByteOffset: place, as: UInt64.self))
        }
        return last
    }

    /// Calls, each of which goes to a place that the processor mostly does not foresee.
    @inline(never)
    private static func call(_ base: UnsafeMutableRawPointer, _ places: UnsafePointer<UInt64>, _ count: Int) -> UInt64 {
        var last: UInt64 = 0
        for i in 0..<count {
            let place = Int(truncatingIfNeeded: unsafe places[i] &+ last)
            last = unsafe call_code(base + place + codeOffset, last)
        }
        return last
    }
}
