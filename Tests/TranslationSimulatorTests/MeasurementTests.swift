// SPDX-License-Identifier: MIT

// What is done with measured times, and that what is measured is work: not how
// fast this machine is.

import Addressing
import CBenchmark
import PagePermutation
import SecureRandom
import TestSupport
import Testing

@testable import TranslationSimulator

private func zeroSeed() throws -> Seed { try Seed.parse(hexadecimal: String(repeating: "0", count: 64)) }

struct PercentilesTests {
    @Test func ofKnownTimes() {
        let times = (1...1000).map { UInt64($0 * 64 + 100) }.shuffled()
        let percentiles = Percentiles(times, overhead: 100, operations: 64)
        #expect(percentiles.batches == 1000)
        #expect(percentiles.p50 == 501 && percentiles.p99 == 991 && percentiles.p999 == 1000)
        #expect(percentiles.middle == 500.5)
    }

    /// Less than the clock's own cost is nothing, not less than nothing.
    @Test func ofOneShortTime() {
        let percentiles = Percentiles([90], overhead: 100, operations: 64)
        #expect(percentiles.p50 == 0 && percentiles.p999 == 0 && percentiles.middle == 0 && percentiles.batches == 1)
    }

    @Test func ratioIsOfTurns() {
        func timing(_ turns: [Double]) -> LookupTiming {
            LookupTiming(
                strategy: "", pattern: "", kind: .latency, caches: .warm,
                ticks: Percentiles([1], overhead: 0, operations: 1), turns: turns)
        }
        // In the third turn the machine did something else.
        #expect(timing([4, 6, 100]).ratio(to: timing([2, 3, 4])) == 2)
    }

    @Test func clock() {
        let clock = TickClock()
        #expect(clock.ticksPerNanosecond > 0.1 && clock.ticksPerNanosecond < 20)
        #expect(clock.overhead > 0 && clock.overhead < 100_000)
        #expect(clock.cyclesPerTick > 0.05 && clock.cyclesPerTick < 20)
        let half = Percentiles([64 * 10], overhead: 0, operations: 64).nanoseconds(clock)
        #expect(abs(half.p50 * clock.ticksPerNanosecond - 10) < 1e-9)
        let cycles = Percentiles([64 * 10], overhead: 0, operations: 64).cycles(clock)
        #expect(abs(cycles.p99 / clock.cyclesPerTick - 10) < 1e-9)
    }
}

struct AccessPatternTests {
    @Test(arguments: [1, 2, 16, 10_288]) func all(pageCount: Int) throws {
        let patterns = try AccessPattern.all(1000, of: pageCount, seed: zeroSeed(), replaying: [0, .max])
        #expect(patterns.map(\.name) == ["hot", "uniform", "zipf", "replayed"])
        for pattern in patterns {
            #expect(pattern.pages.count == 1000 && pattern.pages.allSatisfy { $0 < pageCount })
        }
        #expect(Set(patterns[0].pages).count <= AccessPattern.hotPages)
        let again = try AccessPattern.all(1000, of: pageCount, seed: zeroSeed())
        #expect(again.map(\.pages) == patterns.dropLast().map(\.pages))
    }

    /// Of 1,000 pages the first takes 1 in 7.49, and the second half as much.
    @Test func zipfIsZipf() throws {
        let pages = try AccessPattern.all(100_000, of: 1000, seed: zeroSeed())[2].pages
        let counts = pages.reduce(into: [UInt32: Int]()) { $0[$1, default: 0] += 1 }.values.sorted(by: >)
        #expect((12_900...13_800).contains(counts[0]) && (6_300...7_050).contains(counts[1]))
    }

    @Test func replays() {
        let pattern = AccessPattern.replayed(5, of: 10, [3, 10, 9, .max])
        #expect(pattern?.pages == [3, 9, 3, 9, 3])
        #expect(AccessPattern.replayed(5, of: 10, [10]) == nil)
    }
}

struct BenchTests {
    private static let effort = BenchEffort(rounds: 2, warmBatches: 3, evictedBatches: 2)

    @Test func timesEveryStrategy() throws {
        let table = try makeTable((0..<700).map { $0 ^ 1 })
        let bench = try LookupBench(table, clock: TickClock(), seed: zeroSeed())
        let pattern = try AccessPattern.all(LookupBench.patternLength, of: 700, seed: zeroSeed())[1]
        let timings = try bench.measure(pattern, Self.effort)
        #expect(bench.sizes.count == 17 && timings.count == 17 * 4)
        for timing in timings {
            #expect(timing.pattern == "uniform" && timing.turns.count == 2 && timing.ticks.batches >= 2)
            #expect(timing.ticks.p50 <= timing.ticks.p99 && timing.ticks.p99 <= timing.ticks.p999)
        }
        let comparisons = try bench.compareWithC(pattern, Self.effort)
        #expect(
            comparisons.map(\.strategy)
                == ["linear offset", "flat table, 64-bit offsets", "flat table, 32-bit"].flatMap { [$0, $0] })
        let steady = try bench.measureSteady(pattern, Self.effort)
        #expect(steady.map(\.strategy).sorted() == LookupCheck.strategies.sorted())
        #expect(steady.allSatisfy { $0.kind == .throughput && $0.ticks.batches == 2 * 3 })
        let checks = LookupCheck.all(steady, comparisons)
        #expect(checks.count == 10 && checks.filter(\.atLeast).count == 2)
        #expect(LookupCheck.all([], comparisons).count == 6)
    }

    /// 65,537 pages do not fit 16-bit entries, and all else is measured.
    @Test func leavesOutWhatDoesNotFit() throws {
        let table = try makeTable((0..<65_537).map { $0 })
        let bench = try LookupBench(table, clock: TickClock(), seed: zeroSeed())
        #expect(bench.sizes.count == 16 && !bench.sizes.contains { $0.strategy.contains("16-bit") })
    }

    /// Nothing is left out of the loops: 32 times the lookups take many times as long.
    @Test func timeGrowsWithTheLookups() throws {
        let table = try makeTable([1, 0, 3, 2])
        let loops = [
            LookupLoops(LinearOffset(table)), .linearInC(table), LookupLoops(try FlatTable<UInt32>(table)),
            try .flatInC(table), LookupLoops(FlatOffsets(table)), .offsetsInC(table),
        ]
        let address = table.virtualBase.rawValue + 0x1234
        let addresses = [UInt64](repeating: address, count: 32_768)
        for one in loops {
            let steps = [UInt64](repeating: address &- one.translate(address), count: addresses.count)
            func shortest(_ work: () -> Void) -> UInt64 {
                (0..<20).map { _ in
                    let start = ticks()
                    work()
                    return ticks() - start
                }.min() ?? 0
            }
            let some = shortest { unsafe one.throughput(addresses, 1024) }
            let all = shortest { unsafe one.throughput(addresses, addresses.count) }
            #expect(all > 8 * some, "\(one.size.strategy), throughput: \(some), \(all)")
            let chain = shortest { #expect(unsafe one.latency(address, steps, 1024) == address) }
            let chains = shortest { #expect(unsafe one.latency(address, steps, steps.count) == address) }
            #expect(chains > 8 * chain, "\(one.size.strategy), latency: \(chain), \(chains)")
        }
    }
}

struct OrderTests {
    private func spreads(_ pages: Int, _ granule: Granule) throws -> [OrderSpread] {
        let problem = try PermutationProblem(
            pageCount: pages, classes: [PageClass(name: "all", ranges: [0..<pages])], granule: granule)
        let table = try makeTable((0..<UInt32(pages)).map { $0 })
        var told: [Int] = []
        let spreads = try OrderSpread.measure(
            problem, at: table, orders: 3, clock: TickClock(), seed: zeroSeed(), progress: { told.append($0) })
        #expect(told == [1, 2, 3])
        return spreads
    }

    @Test func whatDependsOnTheOrder() throws {
        let spreads = try spreads(600, .page4K)
        #expect(spreads.count == 17)
        for spread in spreads {
            for interval in [spread.throughputAgainstLinear, spread.latencyAgainstLinear] {
                #expect(interval.low <= interval.mean && interval.mean <= interval.high, "\(spread.strategy)")
            }
            #expect(spread.tableBytes.least <= spread.tableBytes.most)
        }
        func named(_ name: String) throws -> OrderSpread { try #require(spreads.first { $0.strategy == name }) }
        let scan = try named("scan of ranges")
        #expect(scan.tableBytes.least < scan.tableBytes.most && scan.dependence.contains("number of ranges"))
        let flat = try named("flat table, 64-bit offsets")
        #expect(flat.tableBytes == OrderRange([9616]) && flat.dependence.hasPrefix("nothing"))
        #expect(try named("linear offset").throughputAgainstLinear.mean == 1)
    }

    /// One granule has one order.
    @Test func oneOrderOnly() throws {
        let scan = try #require(spreads(512, .page2M).first { $0.strategy.hasPrefix("scan") })
        #expect(scan.strategy == "scan of 1 range" && scan.tableBytes == OrderRange([24]))
    }

    @Test func intervals() {
        let interval = OrderInterval([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
        #expect(interval.mean == 5.5)
        // s = 3.02765, s / sqrt(10) = 0.957427, t(9) = 2.262157
        #expect(abs(interval.high - 7.665852) < 0.0005 && abs(interval.low - 3.334149) < 0.0005)
        // From printed tables.
        for (freedom, t) in [(1, 12.706), (10, 2.228), (11, 2.201), (20, 2.086), (30, 2.042), (120, 1.980)] {
            #expect(abs(OrderInterval.t(freedom) - t) < 0.001, "\(freedom)")
        }
    }
}

struct TracePagesTests {
    @Test func shortOnesAreKept() {
        var stretches = SpreadStretches(length: 4, most: 3)
        for page in 0..<10 as Range<UInt32> { stretches.add(page) }
        #expect(stretches.all == Array(0..<10))
    }

    /// Of 103 stretches of four every 64th is left: no others than at most three, evenly spread.
    @Test func longOnesAreThinnedOut() {
        var stretches = SpreadStretches(length: 4, most: 3)
        for page in 0..<413 as Range<UInt32> { stretches.add(page) }
        #expect(stretches.all == [0, 1, 2, 3, 256, 257, 258, 259])
    }

    @Test func ofATrace() throws {
        let file = TemporaryFile()
        let base = VirtualAddress(0xffff_ffff_9230_0000)
        var writer = try TraceWriter(
            file.path, TraceHeader(virtualBase: base, imageBytes: 0x2001, workload: "three pages"))
        try writer.fetch(base + 0x1000, instructions: 3)
        try writer.read(base + 0x2fff)
        try writer.read(base + 0x3000)
        try writer.write(VirtualAddress(0xffff_8880_0000_1000))
        try writer.event(.systemCall)
        try writer.write(base)
        try writer.read(VirtualAddress(base.rawValue - 64))
        try writer.finish()
        var reader = try TraceReader(file.path)
        #expect(try AccessPattern.pages(in: &reader) == [1, 2, 0])
    }

    @Test func nothingOfTheImage() throws {
        let file = TemporaryFile()
        let base = VirtualAddress(0xffff_ffff_8100_0000)
        var writer = try TraceWriter(
            file.path, TraceHeader(virtualBase: base, imageBytes: 4096, workload: "elsewhere"))
        try writer.read(base + 4096)
        try writer.finish()
        var reader = try TraceReader(file.path)
        let length = reader.offset
        do {
            _ = try AccessPattern.pages(in: &reader)
            Issue.record("nothing to replay, and no error")
        } catch {
            #expect(error.file == file.path && error.what.hasPrefix("ends without a reference to the image"))
            #expect(error.offset ?? 0 > length)
        }
    }
}

struct MappingBenchTests {
    @Test func smallPagesAreSmall() {
        guard let memory = HugeMemory(byteCount: 1, pages: .small) else {
            Issue.record("no memory")
            return
        }
        #expect(memory.byteCount == 2 << 20)
        unsafe memory.base.storeBytes(of: 1, as: UInt64.self)
        #expect(memory.largeBytes() == 0)
    }

    /// Either both kinds are measured, or it is said why not.
    @Test func measuresOrSaysWhyNot() throws {
        do {
            let bench = try MappingBench(pages: 600, clock: TickClock())
            #expect(["MAP_HUGETLB", "MADV_HUGEPAGE"].contains(bench.means))
            let pattern = try AccessPattern.all(LookupBench.patternLength, of: 600, seed: zeroSeed())[1]
            let timings = bench.measure(pattern, .quick)
            #expect(timings.map(\.mapping) == ["4K", "2M", "4K", "2M"])
            #expect(timings.map(\.reference) == [.data, .data, .code, .code])
            for timing in timings { #expect(timing.ticks.p50 > 0 && timing.ticks.batches >= 1024) }
        } catch let problem as MappingBench.Unavailable {
            #expect(problem.description.contains("of 4 MB in pages of 2 MB") || problem.description.contains("memory"))
        }
    }
}
