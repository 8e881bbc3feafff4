// SPDX-License-Identifier: MIT

// One order is one sample: the same is asked of several that were drawn alike, and
// what differs is given as an interval. Times are compared within the turns of one
// order only, as ratios to the linear offset, since the machine changes meanwhile.

import Glibc
public import PagePermutation
public import SecureRandom

/// The mean over several orders, and the interval in which the mean of all orders lies in 95 cases of 100 (Student's t).
public struct OrderInterval: Encodable, Sendable {
    public let mean: Double
    public let low: Double
    public let high: Double

    init(_ values: [Double]) {
        let mean = values.reduce(0, +) / Double(values.count)
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let freedom = values.count - 1
        let error = (squares / Double(freedom * values.count)).squareRoot()
        (self.mean, low, high) = (mean, mean - Self.t(freedom) * error, mean + Self.t(freedom) * error)
    }

    /// The quantile 0.975 of Student's t: a table up to 10 degrees of freedom, then Cornish and Fisher's expansion, which
    /// is right to 0.001 there.
    static func t(_ freedom: Int) -> Double {
        let few = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
        if freedom <= few.count { return few[freedom - 1] }
        let (z, n) = (1.959964, Double(freedom))
        let (z3, z5, z7) = (pow(z, 3), pow(z, 5), pow(z, 7))
        return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n)
            + (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * n * n * n)
    }
}

/// A number in several orders.
public struct OrderRange: Encodable, Equatable, Sendable {
    public let least: Int
    public let most: Int

    init(_ values: [Int]) {
        (least, most) = (values.min() ?? 0, values.max() ?? 0)
    }
}

/// One strategy over several orders.
public struct OrderSpread: Encodable, Sendable {
    public let strategy: String
    /// What depends on the order, and why.
    public let dependence: String
    public let tableBytes: OrderRange
    public let cacheLines: OrderRange
    /// How many times as long as the linear offset in the same order: random pages, caches warm.
    public let throughputAgainstLinear: OrderInterval
    public let latencyAgainstLinear: OrderInterval

    private static let independent = "nothing but times: every address reads as many entries in every order"
    /// Pages asked for in an order.
    private static let patternLength = BenchEffort.order.warmBatches * LookupBench.longBatch + 1

    /// Draws orders and measures every strategy in each; `progress` is called after each.
    ///
    /// - Throws: what drawing throws, `LookupError`, `SeedError`, or `WrongLookup` when lookups are wrong.
    public static func measure(
        _ problem: PermutationProblem, at table: TranslationTable, orders: Int, clock: TickClock,
        seed: borrowing Seed, progress: (Int) -> Void
    ) throws -> [Self] {
        precondition(orders > 1)
        var stream = try RandomStream(seed: seed, domain: "kperm/bench/orders")
        var sizes: [[LookupSize]] = []
        var ratios: [[(throughput: Double, latency: Double)]] = []
        for order in 1...orders {
            let digits = (0..<Seed.byteCount / 4).map { _ in
                let word = String(stream.next(), radix: 16)
                return String(repeating: "0", count: 8 - word.count) + word
            }
            let seed = try Seed.parse(hexadecimal: digits.joined())
            let drawn = TranslationTable(
                try Permutation.draw(problem, seed: seed), virtualBase: table.virtualBase,
                physicalBase: table.physicalBase)
            let bench = try LookupBench(drawn, clock: clock, seed: seed)
            let patterns = try AccessPattern.all(patternLength, of: drawn.pageCount, seed: seed)
            for pattern in patterns where pattern.name == "uniform" { ratios.append(try bench.againstLinear(pattern)) }
            sizes.append(bench.sizes)
            progress(order)
        }
        return sizes[0].indices.map { i in
            OrderSpread(
                strategy: common(sizes.map { $0[i].strategy }), dependence: sizes[0][i].orderDependence ?? independent,
                tableBytes: OrderRange(sizes.map { $0[i].tableBytes }),
                cacheLines: OrderRange(sizes.map { $0[i].cacheLines }),
                throughputAgainstLinear: OrderInterval(ratios.map { $0[i].throughput }),
                latencyAgainstLinear: OrderInterval(ratios.map { $0[i].latency }))
        }
    }

    /// The words that all names have: one may tell how much it holds.
    private static func common(_ names: [String]) -> String {
        let words = names.map { $0.split(separator: " ") }
        return words[0].indices.filter { i in words.allSatisfy { $0.count > i && $0[i] == words[0][i] } }
            .map { String(words[0][$0]) }.joined(separator: " ")
    }
}
