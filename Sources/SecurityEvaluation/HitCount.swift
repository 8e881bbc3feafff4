// SPDX-License-Identifier: MIT

// What a count of hits says of the rate behind it.

import Glibc

/// How often something worked.
public struct HitCount: Codable, Equatable, Sendable {
    /// What comes by chance less often than this is taken as a wrong prediction.
    public static let unbelievable = 1e-6

    public let hits: Int
    public let trials: Int

    /// - Parameters:
    ///   - hits: 0 … `trials`.
    ///   - trials: at least 1.
    public init(_ hits: Int, of trials: Int) {
        precondition(trials > 0 && (0...trials).contains(hits))
        self.hits = hits
        self.trials = trials
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let hits = try container.decode(Int.self, forKey: .hits)
        let trials = try container.decode(Int.self, forKey: .trials)
        guard trials > 0, (0...trials).contains(hits) else {
            throw DecodingError.dataCorruptedError(
                forKey: .hits, in: container, debugDescription: "\(hits) hits of \(trials)")
        }
        self.init(hits, of: trials)
    }

    /// Wilson's interval of the rate, at 95 %.
    public var interval: ClosedRange<Double> {
        let z = 1.959963984540054
        let n = Double(trials)
        let rate = Double(hits) / n
        let shrink = 1 + z * z / n
        let centre = (rate + z * z / (2 * n)) / shrink
        let half = z / shrink * (rate * (1 - rate) / n + z * z / (4 * n * n)).squareRoot()
        // At the ends the formula is exact, its rounding is not.
        return (hits == 0 ? 0 : centre - half)...(hits == trials ? 1 : centre + half)
    }

    /// How likely it is to count so many hits or more, or so many or fewer, whichever is rarer, where each trial works
    /// with probability `rate`.
    public func chance(at rate: Double) -> Double {
        if rate <= 0 { return hits == 0 ? 1 : 0 }
        if rate >= 1 { return hits == trials ? 1 : 0 }
        let n = Double(trials)
        let weights = (0...trials).map { k in
            let k = Double(k)
            return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(rate) + (n - k) * log1p(-rate))
        }
        return min(weights[...hits].reduce(0, +), weights[hits...].reduce(0, +), 1)
    }
}
