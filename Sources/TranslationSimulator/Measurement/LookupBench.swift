// SPDX-License-Identifier: MIT

// All strategies take turns, a few batches each, so that what else the machine
// does hits all alike. A batch is 64 lookups between two readings of the clock.

import Addressing
import CBenchmark
public import PagePermutation
public import SecureRandom

/// One strategy under one pattern.
public struct LookupTiming: Encodable, Sendable {
    public enum Kind: String, Encodable, CaseIterable, Sendable { case throughput, latency }
    public enum Caches: String, Encodable, CaseIterable, Sendable { case warm, evicted }

    public let strategy: String
    public let pattern: String
    public let kind: Kind
    public let caches: Caches
    public let ticks: Percentiles
}

/// What a strategy keeps and reads.
public struct LookupSize: Encodable, Sendable {
    public let strategy: String
    public let tableBytes: Int
    /// That one lookup reads at most.
    public let cacheLines: Int
}

/// A lookup led to a wrong address.
public struct WrongLookup: Error {
    public let strategy: String
}

/// How much is measured.
public struct BenchEffort: Sendable {
    /// Turns of each strategy in each measurement.
    let rounds: Int
    /// Batches a turn, caches warm and evicted, unless a turn takes too long.
    let warmBatches: Int
    let evictedBatches: Int

    public static let usual = BenchEffort(rounds: 64, warmBatches: 64, evictedBatches: 16)
    public static let quick = BenchEffort(rounds: 12, warmBatches: 32, evictedBatches: 8)
}

/// The strategies for a table, to be timed.
public struct LookupBench {
    /// Lookups between two readings of the clock.
    public static let batch = 64
    /// The lookups of a pattern: as many as give 1,024 batches, and one more.
    public static let patternLength = 1024 * batch + 1

    private let table: TranslationTable
    private let clock: TickClock
    private let strategies: [LookupLoops]

    /// - Throws: `LookupError` when the table's addresses do not fit page tables, `SeedError` without memory for keys.
    public init(_ table: TranslationTable, clock: TickClock, seed: borrowing Seed) throws {
        self.table = table
        self.clock = clock
        var all = [
            LookupLoops(LinearOffset(table)), .linearInC(table), LookupLoops(StockTranslation(table)),
            LookupLoops(try FlatTable<UInt32>(table)), try .flatInC(table),
        ]
        if table.pageCount <= 1 << 16 { all.append(LookupLoops(try FlatTable<UInt16>(table))) }
        all.append(LookupLoops(TwoLevelTable(table)))
        all.append(LookupLoops(SortedRuns(table)))
        all.append(LookupLoops(EytzingerRuns(table)))
        all.append(LookupLoops(RangeScan(table)))
        all.append(LookupLoops(HashedPages(table)))
        all.append(LookupLoops(try PageTableWalk<3>(table)))
        all.append(LookupLoops(try PageTableWalk<4>(table)))
        all.append(LookupLoops(try PageTableWalk<5>(table)))
        all.append(LookupLoops(try ComputedPermutation(at: table, seed: seed)))
        strategies = all
    }

    /// What each keeps.
    public var sizes: [LookupSize] { strategies.map(\.size) }

    /// Times every strategy under a pattern of `patternLength` pages.
    ///
    /// - Throws: `WrongLookup` when a chain of lookups does not end where it must.
    public func measure(_ pattern: AccessPattern, _ effort: BenchEffort) throws(WrongLookup) -> [LookupTiming] {
        let addresses = pattern.pages.enumerated().map {
            table.virtualBase.rawValue &+ UInt64($1) << 12 &+ UInt64($0 &* 72 & 0xff8)
        }
        let batches = addresses.count / Self.batch
        let contestants = strategies.map { Contestant($0, addresses) }
        for caches in LookupTiming.Caches.allCases {
            let turn = min(batches, caches == .warm ? effort.warmBatches : effort.evictedBatches)
            for kind in LookupTiming.Kind.allCases {
                for round in 0..<effort.rounds {
                    let first = round * turn % (batches - turn + 1)
                    for contestant in contestants {
                        try contestant.takeTurn(kind, caches, first..<first + turn)
                    }
                }
            }
        }
        return contestants.flatMap { $0.results(pattern.name, clock) }
    }
}

/// A strategy in its turns.
private final class Contestant {
    /// A turn that took so many ticks ends early: some ten milliseconds.
    private static let longTurn: UInt64 = 30_000_000

    private let loops: LookupLoops
    private let addresses: [UInt64]
    /// From a translation to the next address.
    private let steps: [UInt64]
    private var times: [LookupTiming.Kind: [LookupTiming.Caches: [UInt64]]] = [:]

    init(_ loops: LookupLoops, _ addresses: [UInt64]) {
        self.loops = loops
        self.addresses = addresses
        steps = zip(addresses, addresses.dropFirst()).map { $1 &- loops.translate($0) }
    }

    func takeTurn(_ kind: LookupTiming.Kind, _ caches: LookupTiming.Caches, _ batches: Range<Int>) throws(WrongLookup) {
        var times: [UInt64] = []
        times.reserveCapacity(batches.count)
        let begin = ticks()
        // The first time is not counted: it brings code and table back from where others drove them to.
        for pass in 0...1 {
            for batch in batches {
                if caches == .evicted { evict() }
                let time = try self.time(kind, batch)
                if pass == 1 { times.append(time) }
                if ticks() - begin > Self.longTurn / (pass == 0 ? 4 : 1) { break }
                if caches == .evicted, pass == 0 { break }
            }
        }
        self.times[kind, default: [:]][caches, default: []] += times
    }

    private func time(_ kind: LookupTiming.Kind, _ batch: Int) throws(WrongLookup) -> UInt64 {
        let first = batch * LookupBench.batch
        var start: UInt64 = 0
        var end: UInt64 = 0
        switch kind {
        case .throughput:
            unsafe addresses.withUnsafeBufferPointer { addresses in
                guard let base = addresses.baseAddress else { return }
                start = ticks()
                unsafe loops.throughput(base + first, LookupBench.batch)
                end = ticks()
            }
        case .latency:
            let from = addresses[first]
            var last: UInt64 = 0
            unsafe steps.withUnsafeBufferPointer { steps in
                guard let base = steps.baseAddress else { return }
                start = ticks()
                last = unsafe loops.latency(from, base + first, LookupBench.batch)
                end = ticks()
            }
            guard last == addresses[first + LookupBench.batch] else { throw WrongLookup(strategy: loops.size.strategy) }
        }
        return end - start
    }

    private func evict() {
        let memory = unsafe loops.memory
        for line in stride(from: 0, to: memory.count, by: 64) {
            unsafe evict_line(memory.baseAddress.unsafelyUnwrapped + line)
        }
    }

    func results(_ pattern: String, _ clock: TickClock) -> [LookupTiming] {
        var all: [LookupTiming] = []
        for kind in LookupTiming.Kind.allCases {
            for caches in LookupTiming.Caches.allCases {
                guard let times = times[kind]?[caches], !times.isEmpty else { continue }
                let ticks = Percentiles(times, overhead: clock.overhead, operations: LookupBench.batch)
                all.append(
                    LookupTiming(strategy: loops.size.strategy, pattern: pattern, kind: kind, caches: caches, ticks: ticks))
            }
        }
        return all
    }
}
