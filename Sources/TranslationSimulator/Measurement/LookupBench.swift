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
    /// The middle of each of its turns, in ticks.
    public let turns: [Double]
    /// All batches, in ticks a lookup, ascending.
    public internal(set) var batches: [Double] = []

    private enum CodingKeys: String, CodingKey { case strategy, pattern, kind, caches, ticks }

    /// How many times as long this took as another did, turn by turn: the middle of that.
    public func ratio(to other: Self) -> Double {
        let ratios = zip(turns, other.turns).map { $0 / $1 }.sorted()
        return ratios[ratios.count / 2]
    }
}

/// What a strategy keeps and reads.
public struct LookupSize: Encodable, Sendable {
    public let strategy: String
    public let tableBytes: Int
    /// That one lookup reads at most.
    public let cacheLines: Int
    /// `LookupStrategy.orderDependence`.
    let orderDependence: String?

    private enum CodingKeys: String, CodingKey { case strategy, tableBytes, cacheLines }
}

/// A chain of lookups led to a wrong address.
public struct WrongLookup: Error, CustomStringConvertible {
    public let strategy: String

    public var description: String { "\(strategy): lookups led to a wrong address" }
}

/// The same loop in Swift and in C: ticks a lookup, caches warm.
public struct CComparison: Encodable, Sendable {
    public let strategy: String
    public let kind: LookupTiming.Kind
    public let swift: Double
    public let c: Double
    /// Swift against C, turn by turn: the middle of that.
    public let ratio: Double
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
    /// Of each order, where there are several.
    static let order = BenchEffort(rounds: 5, warmBatches: 8, evictedBatches: 0)
}

/// The strategies for a table, to be timed.
public struct LookupBench {
    /// Lookups between two readings of the clock.
    public static let batch = 64
    /// Lookups between two readings where times are held against one another: what a batch costs besides, until its first
    /// entries and after its last have come from the second cache or the third, is little there.
    static let longBatch = 1024
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
            LookupLoops(FlatOffsets(table)), .offsetsInC(table), LookupLoops(try FlatTable<UInt32>(table)),
            try .flatInC(table),
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
        let addresses = addresses(pattern)
        let batches = addresses.count / Self.batch
        let contestants = strategies.map { Contestant($0, addresses, batch: Self.batch) }
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
        return contestants.flatMap { contestant in
            LookupTiming.Kind.allCases.flatMap { kind in
                LookupTiming.Caches.allCases.map { contestant.result(pattern.name, kind, $0, clock) }
            }
        }
    }

    /// How many times as long as the linear offset each strategy takes, caches warm, in one order of the pages.
    ///
    /// - Throws: `WrongLookup` when a chain of lookups does not end where it must.
    func againstLinear(_ pattern: AccessPattern) throws(WrongLookup) -> [(throughput: Double, latency: Double)] {
        let effort = BenchEffort.order
        let addresses = addresses(pattern)
        let contestants = strategies.map { Contestant($0, addresses, batch: Self.longBatch) }
        let batches = 0..<min(effort.warmBatches, addresses.count / Self.longBatch)
        for kind in LookupTiming.Kind.allCases {
            for _ in 0..<effort.rounds {
                for contestant in contestants { try contestant.takeTurn(kind, .warm, batches) }
            }
        }
        let timings = LookupTiming.Kind.allCases.map { kind in
            contestants.map { $0.result(pattern.name, kind, .warm, clock) }
        }
        return contestants.indices.map {
            (timings[0][$0].ratio(to: timings[0][0]), timings[1][$0].ratio(to: timings[1][0]))
        }
    }

    /// Times the strategies of which something is promised (`LookupCheck`), throughput only, caches warm, in turn and in
    /// longer batches than `measure`.
    ///
    /// - Throws: `WrongLookup` when a chain of lookups does not end where it must.
    public func measureSteady(_ pattern: AccessPattern, _ effort: BenchEffort) throws(WrongLookup) -> [LookupTiming] {
        let addresses = addresses(pattern)
        let contestants = strategies.filter { LookupCheck.strategies.contains($0.size.strategy) }
            .map { Contestant($0, addresses, batch: Self.longBatch) }
        let batches = 0..<min(effort.warmBatches, addresses.count / Self.longBatch)
        for _ in 0..<effort.rounds {
            for contestant in contestants { try contestant.takeTurn(.throughput, .warm, batches) }
        }
        return contestants.map { $0.result(pattern.name, .throughput, .warm, clock) }
    }

    /// Times the strategies that there are in C, too, in both languages in turn.
    ///
    /// - Throws: `WrongLookup` when a chain of lookups does not end where it must.
    public func compareWithC(_ pattern: AccessPattern, _ effort: BenchEffort) throws(WrongLookup) -> [CComparison] {
        let addresses = addresses(pattern)
        var comparisons: [CComparison] = []
        for inC in strategies {
            guard let loops = strategies.first(where: { $0.size.strategy + LookupLoops.inC == inC.size.strategy })
            else {
                continue
            }
            let both = [loops, inC].map { Contestant($0, addresses, batch: Self.longBatch) }
            let batches = 0..<min(effort.warmBatches, addresses.count / Self.longBatch)
            for kind in LookupTiming.Kind.allCases {
                for _ in 0..<effort.rounds {
                    for contestant in both { try contestant.takeTurn(kind, .warm, batches) }
                }
                let results = both.map { $0.result(pattern.name, kind, .warm, clock) }
                comparisons.append(
                    CComparison(
                        strategy: loops.size.strategy, kind: kind, swift: results[0].ticks.middle,
                        c: results[1].ticks.middle, ratio: results[0].ratio(to: results[1])))
            }
        }
        return comparisons
    }

    private func addresses(_ pattern: AccessPattern) -> [UInt64] {
        pattern.pages.enumerated().map {
            table.virtualBase.rawValue &+ UInt64($1) << 12 &+ UInt64(($0 * 72) & 0xff8)
        }
    }
}

/// A strategy in its turns.
final class Contestant {
    /// A turn that took so many ticks ends early: some ten milliseconds.
    private static let longTurn: UInt64 = 30_000_000

    private let loops: LookupLoops
    private let addresses: [UInt64]
    private let batch: Int
    /// From a translation to the next address.
    private let steps: [UInt64]
    /// The times of each turn.
    private var turns: [LookupTiming.Kind: [LookupTiming.Caches: [[UInt64]]]] = [:]

    init(_ loops: LookupLoops, _ addresses: [UInt64], batch: Int) {
        self.loops = loops
        self.addresses = addresses
        self.batch = batch
        steps = zip(addresses, addresses.dropFirst()).map { $1 &- loops.translate($0) }
    }

    func takeTurn(
        _ kind: LookupTiming.Kind, _ caches: LookupTiming.Caches, _ batches: Range<Int>
    ) throws(WrongLookup) {
        var times: [UInt64] = []
        times.reserveCapacity(batches.count)
        // The first time is not counted: it brings code, table and addresses back from where others drove them to.
        for isCounted in [false, true] {
            let end = ticks() + Self.longTurn / (isCounted ? 1 : 4)
            for batch in batches {
                if isCounted, caches == .evicted { evict() }
                let time = try self.time(kind, batch)
                if isCounted { times.append(time) }
                if ticks() > end { break }
            }
        }
        turns[kind, default: [:]][caches, default: []].append(times)
    }

    private func time(_ kind: LookupTiming.Kind, _ index: Int) throws(WrongLookup) -> UInt64 {
        let first = index * batch
        var start: UInt64 = 0
        var end: UInt64 = 0
        switch kind {
        case .throughput:
            unsafe addresses.withUnsafeBufferPointer { addresses in
                guard let base = addresses.baseAddress else { return }
                start = ticks()
                unsafe loops.throughput(base + first, batch)
                end = ticks()
            }
        case .latency:
            let from = addresses[first]
            var last: UInt64 = 0
            unsafe steps.withUnsafeBufferPointer { steps in
                guard let base = steps.baseAddress else { return }
                start = ticks()
                last = unsafe loops.latency(from, base + first, batch)
                end = ticks()
            }
            guard last == addresses[first + batch] else { throw WrongLookup(strategy: loops.size.strategy) }
        }
        return end - start
    }

    private func evict() {
        let memory = unsafe loops.memory
        for line in stride(from: 0, to: memory.count, by: 64) {
            unsafe evict_line(memory.baseAddress.unsafelyUnwrapped + line)
        }
    }

    func result(
        _ pattern: String, _ kind: LookupTiming.Kind, _ caches: LookupTiming.Caches, _ clock: TickClock
    ) -> LookupTiming {
        let turns = turns[kind]?[caches] ?? []
        let percentiles = { Percentiles($0, overhead: clock.overhead, operations: self.batch) }
        return LookupTiming(
            strategy: loops.size.strategy, pattern: pattern, kind: kind, caches: caches,
            ticks: percentiles(turns.flatMap { $0 }), turns: turns.map { percentiles($0).middle },
            batches: turns.flatMap { $0 }.sorted().map { max(0, Double($0) - Double(clock.overhead)) / Double(batch) })
    }
}
