// SPDX-License-Identifier: MIT

// Student's distribution with a whole number of degrees of freedom, by its finite
// series (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and
// 26.7.4), and its quantiles by halving an interval.

import Glibc

/// Student's distribution.
public enum StudentT {
    /// The probability of a value of at most `t`.
    public static func probability(of t: Double, degrees: Int) -> Double {
        precondition(degrees > 0, "no degrees of freedom")
        let angle = atan(t / Double(degrees).squareRoot())
        let square = cos(angle) * cos(angle)
        // Of a value between -t and t.
        let within: Double
        if degrees % 2 == 1 {
            var term = cos(angle)
            var sum = degrees > 1 ? term : 0
            for k in stride(from: 3, to: degrees, by: 2) {
                term *= square * Double(k - 1) / Double(k)
                sum += term
            }
            within = 2 / Double.pi * (angle + sin(angle) * sum)
        } else {
            var term = 1.0
            var sum = term
            for k in stride(from: 2, to: degrees, by: 2) {
                term *= square * Double(k - 1) / Double(k)
                sum += term
            }
            within = sin(angle) * sum
        }
        return (1 + within) / 2
    }

    /// The value that is not exceeded with a probability above 0 and below 1.
    public static func quantile(_ probability: Double, degrees: Int) -> Double {
        precondition(probability > 0 && probability < 1, "no probability of a finite value")
        if probability < 0.5 { return -quantile(1 - probability, degrees: degrees) }
        var low = 0.0
        var high = 1.0
        while Self.probability(of: high, degrees: degrees) < probability { high *= 2 }
        while true {
            let middle = (low + high) / 2
            guard low < middle, middle < high else { return middle }
            if Self.probability(of: middle, degrees: degrees) < probability { low = middle } else { high = middle }
        }
    }
}
