// SPDX-License-Identifier: MIT

// What is measured on this machine with each order: lookups, references through
// small and large pages, drawing and moving. Of each order one value of each
// percentile counts; the orders' spread is what the limits come from.

import Addressing
import KernelImage
import KernelRewrite
import PagePermutation
import Report
import SecureRandom
import TranslationSimulator

struct LookupStudy {
    let seeds: OrderSeeds
    let clock: TickClock
    let quick: Bool

    /// Costs are worked out with one pattern; the others are looked at for a shorter time.
    private func effort(_ pattern: AccessPattern) -> BenchEffort {
        quick || pattern.name != LookupFindings.pattern ? .quick : .usual
    }

    private func patterns(_ pages: Int, _ order: Int) throws -> [AccessPattern] {
        let all = try AccessPattern.all(LookupBench.patternLength, of: pages, seed: try seeds.seed(order))
        return quick ? all.filter { $0.name == LookupFindings.pattern } : all
    }

    /// Times all strategies on the table of each order.
    func lookups(_ subject: KernelSubject) throws -> LookupFindings {
        var findings = LookupFindings(clock)
        do {
            for (order, table) in subject.tables.enumerated() {
                let bench = try LookupBench(table, clock: clock, seed: try seeds.seed(order))
                findings.begin(bench.sizes)
                findings.baseline = StockTranslation(table).name
                findings.candidate = try FlatTable<UInt32>(table).name
                for pattern in try patterns(table.pageCount, order) {
                    progress("lookups: order \(order + 1) of \(seeds.all.count), \(pattern.name)")
                    for timing in try bench.measure(pattern, effort(pattern)) {
                        findings.add(timing, of: bench.sizes)
                    }
                }
            }
        } catch let error as LookupError {
            throw CommandFailure.input("\(subject.path): \(error)")
        } catch let error as WrongLookup {
            throw CommandFailure.check("\(error)")
        }
        return findings
    }

    /// Times references through both kinds of mapping, with a pattern of its own for each order.
    func mappings(_ subject: KernelSubject) throws -> (rows: [OverheadReport.Mapping], means: String) {
        let pages = subject.analysis.map.pageCount
        let bench: MappingBench
        do { bench = try MappingBench(pages: pages, clock: clock) } catch { return ([], "\(error)") }
        var times: [String: (small: [Double], large: [Double])] = [:]
        var rows: [(key: String, timing: MappingTiming)] = []
        for order in seeds.all.indices {
            progress("mappings: order \(order + 1) of \(seeds.all.count)")
            for pattern in try patterns(pages, order) {
                for timing in bench.measure(pattern, effort(pattern)) {
                    let key = "\(timing.reference) \(timing.pattern)"
                    let time = timing.ticks.nanoseconds(clock).p50
                    if times[key] == nil { rows.append((key, timing)) }
                    if timing.mapping == "4K" {
                        times[key, default: ([], [])].small.append(time)
                    } else {
                        times[key, default: ([], [])].large.append(time)
                    }
                }
            }
        }
        return (
            rows.compactMap { key, timing in
                guard let (small, large) = times[key], small.count == large.count, !small.isEmpty else { return nil }
                return OverheadReport.Mapping(
                    reference: timing.reference.rawValue, pattern: timing.pattern, small: Estimate(times: small),
                    large: Estimate(times: large), ratio: Estimate(times: zip(small, large).map { $0 / $1 }))
            }, bench.means
        )
    }

    /// What is kept in memory, and how long it takes to get the pages into their order.
    func memory(_ subject: KernelSubject) throws -> OverheadReport.Memory {
        guard let orders = subject.orders.last, let table = subject.tables.first else {
            throw CommandFailure.input("\(subject.path): no order was drawn")
        }
        let shuffle = ShuffleBench(pages: table.pageCount)
        var draws: [Double] = []
        var moves: [Double] = []
        let milliseconds = { (ticks: Double) in ticks / clock.ticksPerNanosecond / 1e6 }
        for order in seeds.all.indices {
            progress("drawing and moving: order \(order + 1) of \(seeds.all.count)")
            let seed = try seeds.seed(order)
            let start = ContinuousClock.now
            let drawn: Permutation
            do { drawn = try Permutation.draw(orders.problem, seed: seed) } catch {
                throw CommandFailure.input("\(subject.path): \(error)")
            }
            draws.append((ContinuousClock.now - start) / .milliseconds(1))
            guard let ticks = shuffle.measure(drawn.forward) else {
                throw CommandFailure.check("order \(order + 1): a page that was moved is not in its frame")
            }
            moves.append(milliseconds(Double(ticks)))
        }
        let first = table.virtualBase.rawValue >> 21
        let last = (table.virtualBase.rawValue + UInt64(table.pageCount * pageSize - 1)) >> 21
        return OverheadReport.Memory(
            tableBytes: table.byteCount, pageTablePages: Int(last - first) + 1,
            drawMilliseconds: Estimate(times: draws),
            moveMilliseconds: Estimate(times: moves))
    }
}

/// What lookups took, over all orders.
struct LookupFindings {
    /// The pattern that costs are worked out with: it favours no table.
    static let pattern = "uniform"
    /// The curves of so many strategies can be told apart.
    private static let shown = 8

    private struct Key: Hashable {
        /// Its place among the strategies: some have a number in their name that the order decides.
        let strategy: Int
        let pattern: String
        let kind: LookupTiming.Kind
        let caches: LookupTiming.Caches
    }

    private struct Percentile {
        var p50: [Double] = []
        var p99: [Double] = []
        var p999: [Double] = []
        var batches: [Double] = []
    }

    /// Of the first order.
    private var sizes: [LookupSize] = []
    private var names: [String] = []
    /// Today's translation, and the table that costs are of.
    var baseline = ""
    var candidate = ""
    private let clock: TickClock
    private var keys: [Key] = []
    private var times: [Key: Percentile] = [:]

    init(_ clock: TickClock) { self.clock = clock }

    /// Goes on to the table of another order.
    mutating func begin(_ sizes: [LookupSize]) {
        if names.isEmpty {
            self.sizes = sizes
            names = sizes.map(\.strategy)
        }
        for (index, size) in sizes.enumerated() where size.strategy != names[index] {
            names[index] = size.strategy.split(separator: " ").filter { Int($0) == nil }.joined(separator: " ")
        }
    }

    mutating func add(_ timing: LookupTiming, of sizes: [LookupSize]) {
        guard let strategy = sizes.firstIndex(where: { $0.strategy == timing.strategy }) else { return }
        let key = Key(strategy: strategy, pattern: timing.pattern, kind: timing.kind, caches: timing.caches)
        if times[key] == nil { keys.append(key) }
        let each = timing.ticks.nanoseconds(clock)
        times[key, default: Percentile()].p50.append(each.p50)
        if each.batches >= 100 { times[key, default: Percentile()].p99.append(each.p99) }
        if each.batches >= 1000 { times[key, default: Percentile()].p999.append(each.p999) }
        if timing.kind == .latency, timing.pattern == Self.pattern {
            times[key, default: Percentile()].batches += timing.batches.map { $0 / clock.ticksPerNanosecond }
        }
    }

    private func medians(_ name: String, _ caches: LookupTiming.Caches) -> [Double] {
        guard let strategy = names.firstIndex(of: name) else { return [] }
        return times[Key(strategy: strategy, pattern: Self.pattern, kind: .latency, caches: caches)]?.p50 ?? []
    }

    /// Of all orders, or of none.
    private func tail(_ times: [Double]) -> Estimate? {
        guard let orders = self.times.values.map(\.p50.count).max(), times.count == orders else { return nil }
        return Estimate(times: times)
    }

    /// In the order they were measured.
    var rows: [OverheadReport.Lookup] {
        keys.compactMap { key in
            guard let time = times[key] else { return nil }
            let size = sizes[key.strategy]
            return OverheadReport.Lookup(
                strategy: names[key.strategy], tableBytes: size.tableBytes, cacheLines: size.cacheLines,
                pattern: key.pattern, kind: key.kind.rawValue, caches: key.caches.rawValue,
                p50: Estimate(times: time.p50),
                p99: tail(time.p99), p999: tail(time.p999))
        }
    }

    /// Of the fastest strategies, those in C left out.
    var curves: [OverheadReport.Curve] {
        var sums: [(strategy: String, sum: Double)] = []
        for name in names where !name.hasSuffix(", in C") {
            let medians = medians(name, .warm)
            if !medians.isEmpty { sums.append((name, medians.reduce(0, +))) }
        }
        let fastest = sums.sorted { $0.sum < $1.sum }.prefix(Self.shown).map(\.strategy)
        var curves: [OverheadReport.Curve] = []
        for caches in LookupTiming.Caches.allCases {
            for name in fastest { curves.append(curve(name, caches)) }
        }
        return curves
    }

    private func curve(_ name: String, _ caches: LookupTiming.Caches) -> OverheadReport.Curve {
        let key = names.firstIndex(of: name).map {
            Key(strategy: $0, pattern: Self.pattern, kind: .latency, caches: caches)
        }
        let sorted = (key.flatMap { times[$0]?.batches } ?? []).sorted()
        var points: [OverheadReport.Point] = []
        if !sorted.isEmpty {
            // By half percents, and two places further out.
            for share in [0.001] + (1..<200).map({ Double($0) / 200 }) + [0.999] {
                let place = min(sorted.count - 1, Int(Double(sorted.count) * share))
                points.append(OverheadReport.Point(x: sorted[place], y: share))
            }
        }
        return OverheadReport.Curve(strategy: name, caches: caches.rawValue, points: points)
    }

    /// A workload's lookups times what each takes longer than today's.
    func cost(of workload: OverheadReport.Workload) -> OverheadReport.Cost {
        func extra(_ caches: LookupTiming.Caches) -> [Double] {
            zip(medians(candidate, caches), medians(baseline, caches)).map { $0 - $1 }
        }
        func share(_ lookups: Int, _ nanoseconds: [Double]) -> OverheadReport.Share {
            let kernel = Double(max(workload.instructions, 1)) / workload.instructionsPerSecond * 1e9
            let calls = Double(workload.systemCalls)
            return OverheadReport.Share(
                nanosecondsPerSystemCall: calls > 0
                    ? Estimate(times: nanoseconds.map { $0 * Double(lookups) / calls }) : nil,
                percent: Estimate(times: nanoseconds.map { 100 * $0 * Double(lookups) / kernel }))
        }
        let lookups = workload.image + workload.unclear
        let seconds = Double(max(workload.instructions + workload.userInstructions, 1)) / workload.instructionsPerSecond
        return OverheadReport.Cost(
            workload: workload.name,
            lookupsPerSystemCall: workload.systemCalls > 0 ? Double(lookups) / Double(workload.systemCalls) : nil,
            lookupsPerSecond: Double(lookups) / seconds, warm: share(lookups, extra(.warm)),
            evicted: share(lookups, extra(.evicted)),
            allWarm: workload.linear.map { share(lookups + $0, extra(.warm)) })
    }
}
