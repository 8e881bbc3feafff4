// SPDX-License-Identifier: MIT

// What `kperm bench` measured, as JSON and as text.

import Glibc
import PagePermutation
import TranslationSimulator

struct BenchReport: Encodable {
    struct Lookup: Encodable {
        let strategy: String
        let pattern: String
        let kind: LookupTiming.Kind
        let caches: LookupTiming.Caches
        let ticks: Percentiles
        let nanoseconds: Percentiles
        let cycles: Percentiles
    }

    struct Mapping: Encodable {
        let mapping: String
        let reference: MappingTiming.Reference
        let pattern: String
        let ticks: Percentiles
        let nanoseconds: Percentiles
        let cycles: Percentiles
    }

    let file: String?
    let trace: String?
    let processor: String
    let clock: TickClock
    let pages: Int
    let movedPages: Int
    let strategies: [LookupSize]
    private(set) var lookups: [Lookup] = []
    private(set) var withC: [CComparison] = []
    private(set) var checks: [LookupCheck] = []
    /// By which means pages of 2 MB were got, or why there are none.
    var largePages = ""
    private(set) var mappings: [Mapping] = []
    /// Over which orders intervals are given, or why there are none.
    private(set) var ordersOf: String
    private(set) var orders: [OrderSpread] = []

    init(
        file: String?, trace: String?, _ table: TranslationTable, _ clock: TickClock, _ strategies: [LookupSize]
    ) {
        self.file = file
        self.trace = trace
        ordersOf =
            file == nil ? "one order: no others were asked for" : "one order, the file's: give --pages to draw several"
        self.clock = clock
        self.strategies = strategies
        processor = processorName() ?? "unknown processor"
        pages = table.pageCount
        movedPages = table.movedCount
    }

    mutating func add(_ timings: [LookupTiming]) {
        lookups += timings.map {
            Lookup(
                strategy: $0.strategy, pattern: $0.pattern, kind: $0.kind, caches: $0.caches, ticks: $0.ticks,
                nanoseconds: $0.ticks.nanoseconds(clock), cycles: $0.ticks.cycles(clock))
        }
    }

    mutating func add(_ timings: [MappingTiming], by means: String) {
        largePages = means
        mappings = timings.map {
            Mapping(
                mapping: $0.mapping, reference: $0.reference, pattern: $0.pattern, ticks: $0.ticks,
                nanoseconds: $0.ticks.nanoseconds(clock), cycles: $0.ticks.cycles(clock))
        }
    }

    mutating func add(_ orders: [OrderSpread], of count: Int) {
        ordersOf =
            "\(count) orders drawn alike; random pages, caches warm, batches of 1,024; 95 % intervals of the mean"
        self.orders = orders
    }

    mutating func check(_ timings: [LookupTiming], _ comparisons: [CComparison]) {
        withC = comparisons
        checks = LookupCheck.all(timings, comparisons)
    }

    func print() {
        Swift.print("processor: \(processor)")
        Swift.print(
            "clock:     \(clock.ticksPerNanosecond.digits(3)) ticks of the time-stamp counter a nanosecond, "
                + "\(clock.cyclesPerTick.digits(2)) cycles a tick; reading it twice costs \(clock.overhead), taken off")
        Swift.print("table:     \(file.map { "\($0), " } ?? "")\(pages) pages, \(movedPages) of them moved")
        if let trace { Swift.print("trace:     \(trace)") }
        Swift.print("\n" + "strategy".left(28) + "bytes".right(10) + "cache lines a lookup".right(22))
        for size in strategies {
            Swift.print(
                size.strategy.left(28) + "\(size.tableBytes)".right(10) + "at most \(size.cacheLines)".right(22))
        }
        printLookups()
        printMappings()
        printOrders()
        Swift.print("\nratio, uniform, caches warm, batches of 1,024")
        for check in checks {
            let limit = "\(check.atLeast ? "at least" : "at most") \(check.limit.digits(1))"
            Swift.print(
                check.claim.left(72) + check.ratio.digits(2).right(6) + "  \(limit): "
                    + (check.holds ? "holds" : "MISSED"))
        }
    }

    private func printLookups() {
        var patterns: [String] = []
        for lookup in lookups where !patterns.contains(lookup.pattern) { patterns.append(lookup.pattern) }
        for pattern in patterns {
            for caches in LookupTiming.Caches.allCases {
                let ours = lookups.filter { $0.pattern == pattern && $0.caches == caches }
                printHeading("\(pattern), caches \(caches)", LookupTiming.Kind.allCases.map(\.rawValue))
                for size in strategies {
                    let cells = LookupTiming.Kind.allCases.compactMap { kind in
                        ours.first { $0.strategy == size.strategy && $0.kind == kind }
                    }
                    Swift.print(size.strategy.left(28) + cells.map { row($0.ticks, $0.nanoseconds) }.joined())
                }
            }
        }
    }

    private func printMappings() {
        Swift.print("\nlarge pages: \(largePages)")
        for reference in MappingTiming.Reference.allCases {
            let ours = mappings.filter { $0.reference == reference }
            guard !ours.isEmpty else { continue }
            printHeading(reference == .data ? "read a word of a page" : "call a function in a page", ["4K", "2M"])
            for small in ours where small.mapping == "4K" {
                guard let large = ours.first(where: { $0.mapping == "2M" && $0.pattern == small.pattern }) else {
                    continue
                }
                Swift.print(
                    small.pattern.left(28) + row(small.ticks, small.nanoseconds) + row(large.ticks, large.nanoseconds))
            }
        }
    }

    private func printOrders() {
        guard !orders.isEmpty else { return }
        Swift.print(
            "\n\(ordersOf)\n" + "strategy".left(28) + "bytes".right(20) + "cache lines".right(14)
                + "throughput/linear, 95 %".right(26) + "latency/linear, 95 %".right(26))
        func text(_ range: OrderRange) -> String {
            range.least == range.most ? "\(range.least)" : "\(range.least) to \(range.most)"
        }
        func text(_ interval: OrderInterval) -> String {
            "\(interval.mean.short) (\(interval.low.short) to \(interval.high.short))"
        }
        for order in orders {
            Swift.print(
                order.strategy.left(28) + text(order.tableBytes).right(20) + text(order.cacheLines).right(14)
                    + text(order.throughputAgainstLinear).right(26) + text(order.latencyAgainstLinear).right(26))
        }
    }

    private func printHeading(_ what: String, _ columns: [String]) {
        let labels = "p50".right(9) + "p99".right(9) + "p99.9".right(10) + "p50 ns".right(9)
        Swift.print("\n" + what.left(28) + columns.map { "\($0), ticks".right(37) }.joined())
        Swift.print("".left(28) + columns.map { _ in labels }.joined())
    }

    private func row(_ ticks: Percentiles, _ nanoseconds: Percentiles) -> String {
        ticks.p50.short.right(9) + ticks.p99.short.right(9) + ticks.p999.short.right(10)
            + nanoseconds.p50.short.right(9)
    }
}

/// The processor's name, as Linux tells it.
func processorName() -> String? {
    guard let file = unsafe fopen("/proc/cpuinfo", "r") else { return nil }
    defer { unsafe fclose(file) }
    var line: UnsafeMutablePointer<CChar>?
    var room = 0
    defer { unsafe free(line) }
    while unsafe getline(&line, &room, file) > 0, let start = unsafe line {
        let parts = unsafe String(cString: start).split(separator: ":", maxSplits: 1)
        if parts.count == 2, parts[0].hasPrefix("model name") {
            return String(parts[1].drop { $0 == " " }.prefix { $0 != "\n" })
        }
    }
    return nil
}

extension Double {
    /// Rounded to so many decimals.
    fileprivate func digits(_ count: Int) -> String {
        let scale = pow(10, Double(count))
        let whole = (self * scale).rounded()
        guard abs(whole) < 1e15 else { return "\(self)" }
        let digits = "\(Int(abs(whole)))"
        let padded = String(repeating: "0", count: max(0, count + 1 - digits.count)) + digits
        return (whole < 0 ? "-" : "") + padded.dropLast(count) + (count > 0 ? "." : "") + padded.suffix(count)
    }

    /// As many decimals as are worth reading.
    fileprivate var short: String { digits(self < 10 ? 2 : self < 1000 ? 1 : 0) }
}

extension String {
    fileprivate func left(_ width: Int) -> String { self + String(repeating: " ", count: Swift.max(1, width - count)) }

    fileprivate func right(_ width: Int) -> String { String(repeating: " ", count: Swift.max(1, width - count)) + self }
}
