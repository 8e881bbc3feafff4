// SPDX-License-Identifier: MIT

// What is known of a number that varies with the order of the pages, from a few
// orders drawn at random: its middle, and limits for the middle of all orders.
//
// Of what is counted or simulated the middle is the mean, and the limits are
// Student's: mean ± t s / √n, t from n - 1 degrees of freedom (NIST/SEMATECH
// e-Handbook of Statistical Methods, 1.3.5.2). They take the mean of n orders for
// normally distributed.
//
// Times are not: a machine that does something else meanwhile makes some of them
// a thousand times as long. Of times the middle is the median, and the limits are
// the k-th value from either end, k as large as leaves the median of all orders
// outside with a probability of at most 5 %: twice that of fewer than k heads in
// n throws of a coin (Hahn and Meeker, Statistical Intervals, 5.2). Nothing is
// assumed there but that the orders are independent, and each has a seed of its own.

/// A number over several orders.
public struct Estimate: Codable, Equatable, Sendable {
    /// How sure the limits are, at least.
    public static let confidence = 0.95

    /// Orders.
    public let count: Int
    /// The mean, or of times the median.
    public let value: Double
    /// The limits of what `value` would be of all orders; both are the same as it where there is one order only.
    public let low: Double
    public let high: Double
    /// The smallest and the largest of the orders that were drawn.
    public let least: Double
    public let most: Double

    /// The mean, with Student's limits.
    ///
    /// - Parameter values: one of each order, not empty.
    public init(_ values: [Double]) {
        precondition(!values.isEmpty, "an estimate of nothing")
        count = values.count
        least = values.min() ?? 0
        most = values.max() ?? 0
        guard least < most else {
            (value, low, high) = (least, least, least)
            return
        }
        let mean = values.reduce(0, +) / Double(count)
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let error = (squares / Double(count - 1) / Double(count)).squareRoot()
        let half = StudentT.quantile(0.5 + Self.confidence / 2, degrees: count - 1) * error
        (value, low, high) = (mean, mean - half, mean + half)
    }

    public init(_ value: Double) { self.init([value]) }

    /// The median, with limits that hold for any distribution. Of fewer than six orders they are the range, and less sure.
    ///
    /// - Parameter times: one of each order, not empty.
    public init(times: [Double]) {
        precondition(!times.isEmpty, "an estimate of nothing")
        let sorted = times.sorted()
        count = sorted.count
        value = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
        let left = Self.ranksLeftOut(of: count)
        (low, high) = (sorted[left], sorted[count - 1 - left])
        (least, most) = (sorted[0], sorted[count - 1])
    }

    /// How many values at either end lie outside the limits of a median.
    static func ranksLeftOut(of count: Int) -> Int {
        // Of at most `left` heads in so many throws.
        var probability = 1.0
        for _ in 0..<count { probability /= 2 }
        var sum = probability
        var left = 0
        while true {
            probability *= Double(count - left) / Double(left + 1)
            sum += probability
            guard left + 1 < count - 1 - left, 2 * sum <= 1 - confidence else { return left }
            left += 1
        }
    }

    /// Whether the orders differ.
    public var varies: Bool { least < most }
}
