// SPDX-License-Identifier: MIT

// What is known of a number that varies with the order of the pages, from a few
// orders drawn at random: the mean, and between which limits the mean of all
// orders lies. The limits are Student's: mean ± t s / √n, t from n - 1 degrees of
// freedom (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.2). They
// take the mean of n orders for normally distributed; the orders are
// independent, for each has a seed of its own.

/// A number over several orders.
public struct Estimate: Codable, Equatable, Sendable {
    /// How sure the limits are.
    public static let confidence = 0.95

    /// Orders.
    public let count: Int
    public let mean: Double
    /// The limits of the mean of all orders; both are the mean where there is one order only.
    public let low: Double
    public let high: Double
    /// The smallest and the largest of the orders that were drawn.
    public let least: Double
    public let most: Double

    /// - Parameter values: one of each order, not empty.
    public init(_ values: [Double]) {
        precondition(!values.isEmpty, "an estimate of nothing")
        count = values.count
        least = values.min() ?? 0
        most = values.max() ?? 0
        guard least < most else {
            (mean, low, high) = (least, least, least)
            return
        }
        let mean = values.reduce(0, +) / Double(count)
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let error = (squares / Double(count - 1) / Double(count)).squareRoot()
        let half = StudentT.quantile(0.5 + Self.confidence / 2, degrees: count - 1) * error
        self.mean = mean
        low = mean - half
        high = mean + half
    }

    public init(_ value: Double) { self.init([value]) }

    /// Half the distance between the limits.
    public var halfWidth: Double { (high - low) / 2 }

    /// Whether the orders differ.
    public var varies: Bool { least < most }
}
