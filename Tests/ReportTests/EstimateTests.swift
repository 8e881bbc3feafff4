// SPDX-License-Identifier: MIT

// Student's distribution where it has a closed form, and estimates worked out by
// hand.

import Foundation
import Report
import TestSupport
import Testing

struct EstimateTests {
    private func isClose(_ a: Double, _ b: Double, _ tolerance: Double = 1e-12) -> Bool {
        abs(a - b) <= tolerance * max(1, abs(b))
    }

    /// One degree: Cauchy's distribution. Two and four: roots.
    @Test func closedForms() {
        var random = TestRandom()
        for _ in 0..<1000 {
            let t = Double.random(in: -50...50, using: &random)
            #expect(
                isClose(StudentT.probability(of: t, degrees: 1), 0.5 + atan(t) / .pi), TestRandom.comment("\(t)"))
            #expect(
                isClose(StudentT.probability(of: t, degrees: 2), 0.5 + t / (2 * (2 + t * t).squareRoot())),
                TestRandom.comment("\(t)"))
            let root = (4 + t * t).squareRoot()
            #expect(
                isClose(StudentT.probability(of: t, degrees: 4), 0.5 + t * (t * t + 6) / (2 * root * root * root)),
                TestRandom.comment("\(t)"))
            let three = (atan(t / 3.0.squareRoot()) + 3.0.squareRoot() * t / (3 + t * t)) / .pi
            #expect(isClose(StudentT.probability(of: t, degrees: 3), 0.5 + three), TestRandom.comment("\(t)"))
        }
    }

    /// As printed in tables of t for 95 %, both sides; the last is nearly the normal distribution's.
    @Test(arguments: [(1, 12.706), (2, 4.303), (5, 2.571), (9, 2.262), (10, 2.228), (29, 2.045), (100_000, 1.960)])
    func tables(degrees: Int, t: Double) {
        #expect((StudentT.quantile(0.975, degrees: degrees) * 1000).rounded() / 1000 == t)
    }

    @Test func quantilesInvert() {
        for degrees in [1, 2, 3, 8, 9, 30] {
            for probability in [0.001, 0.025, 0.3, 0.5, 0.9, 0.9995] {
                let t = StudentT.quantile(probability, degrees: degrees)
                #expect(isClose(StudentT.probability(of: t, degrees: degrees), probability, 1e-9))
                #expect(isClose(StudentT.quantile(1 - probability, degrees: degrees), -t, 1e-9))
            }
        }
    }

    /// The values 1, 2, 3: s is 1, the error √(1/3), t of two degrees 4.3027.
    @Test func byHand() {
        let estimate = Estimate([3, 1, 2])
        let half = 0.95 * (2 / (1 - 0.95 * 0.95)).squareRoot() / 3.0.squareRoot()
        #expect(estimate.count == 3 && estimate.value == 2 && estimate.least == 1 && estimate.most == 3)
        #expect(isClose(estimate.high - 2, half) && isClose(estimate.low, 2 - half) && estimate.varies)
    }

    @Test func constants() {
        for values in [[0.1], [0.1, 0.1, 0.1]] {
            let estimate = Estimate(values)
            #expect(estimate.value == 0.1 && estimate.low == 0.1 && estimate.high == 0.1 && !estimate.varies)
        }
    }

    /// Ten values: one lies outside at either end, for 2 (1 + 10) / 1024 is 2.1 %, and with 45 more it is 10.9 %.
    @Test func medians() {
        let estimate = Estimate(times: [9, 2, 7, 4, 1000, 6, 5, 8, 3, 1])
        #expect(estimate.value == 5.5 && estimate.low == 2 && estimate.high == 9)
        #expect(estimate.least == 1 && estimate.most == 1000)
        let odd = Estimate(times: [3, 1, 2])
        #expect(odd.value == 2 && odd.low == 1 && odd.high == 3)
        #expect(Estimate(times: [4]).low == 4)
    }

    /// How many lie outside at either end, as tables of the sign test have it at 5 %, both sides.
    @Test(arguments: [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (10, 1), (12, 2), (20, 5), (25, 7), (100, 39)])
    func ranks(count: Int, left: Int) {
        let estimate = Estimate(times: (0..<count).map(Double.init))
        #expect(estimate.low == Double(left) && estimate.high == Double(count - 1 - left))
    }

    /// Of many samples of ten, the limits hold the true mean in 95 of 100.
    @Test func coverage() {
        var random = TestRandom()
        let rounds = 4000
        var held = 0
        for _ in 0..<rounds {
            let values = (0..<10).map { _ in
                // Twelve uniform numbers: nearly normal, mean 6.
                (0..<12).reduce(0.0) { sum, _ in sum + Double.random(in: 0...1, using: &random) }
            }
            let estimate = Estimate(values)
            if estimate.low <= 6, 6 <= estimate.high { held += 1 }
        }
        let share = Double(held) / Double(rounds)
        // Four standard deviations of a share of 0.95 in 4000 are 0.014.
        #expect(abs(share - 0.95) < 0.016, TestRandom.comment("\(share)"))
    }
}
