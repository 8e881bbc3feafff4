// SPDX-License-Identifier: MIT

// How surprising a chi-square statistic is: the regularized upper incomplete gamma
// function Q(k/2, x/2), by its series below a + 1 (NIST DLMF 8.11.4) and by its
// continued fraction above (DLMF 8.9.2, evaluated from the front by Lentz's way).

import Glibc

/// The chance that a chi-square variable with so many degrees of freedom is at least `statistic`.
func chiSquareTail(_ statistic: Double, degrees: Int) -> Double {
    upperGamma(Double(degrees) / 2, statistic / 2)
}

/// Q(a, x) for a > 0.
func upperGamma(_ a: Double, _ x: Double) -> Double {
    guard x > 0 else { return 1 }
    guard x.isFinite else { return 0 }
    var sign: Int32 = 0
    let logGamma = unsafe lgamma_r(a, &sign)
    let scale = exp(a * log(x) - x - logGamma)
    if x < a + 1 {
        var (term, sum, n) = (1 / a, 1 / a, a)
        while term > sum * 1e-16 {
            n += 1
            term *= x / n
            sum += term
        }
        return max(1 - scale * sum, 0)
    }
    let tiny = 1e-300
    var b = x + 1 - a
    var c = 1 / tiny
    var d = 1 / b
    var fraction = d
    for i in 1...100_000 {
        let term = -Double(i) * (Double(i) - a)
        b += 2
        d = term * d + b
        if abs(d) < tiny { d = tiny }
        c = b + term / c
        if abs(c) < tiny { c = tiny }
        d = 1 / d
        let step = d * c
        fraction *= step
        if abs(step - 1) < 1e-15 { break }
    }
    return scale * fraction
}

/// The chance that a standard normal variable lies as far from 0 as `deviations`, on either side.
func normalTails(_ deviations: Double) -> Double { erfc(abs(deviations) / 2.0.squareRoot()) }

/// Pearson's statistic of counts against what is expected in each cell, and its tail. Cells of less than five expected
/// are taken together with the last.
func pearson(_ counts: [Int], expected: [Double]) -> (statistic: Double, degrees: Int, p: Double) {
    var cells: [(Double, Double)] = []
    var rest = (0.0, 0.0)
    for (count, expected) in zip(counts, expected) {
        if expected >= 5 {
            cells.append((Double(count), expected))
        } else {
            rest = (rest.0 + Double(count), rest.1 + expected)
        }
    }
    if rest.1 > 0 {
        if let last = cells.last, rest.1 < 5 {
            cells[cells.count - 1] = (last.0 + rest.0, last.1 + rest.1)
        } else {
            cells.append(rest)
        }
    }
    let statistic = cells.reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) / $1.1 }
    let degrees = max(cells.count - 1, 1)
    return (statistic, degrees, chiSquareTail(statistic, degrees: degrees))
}
