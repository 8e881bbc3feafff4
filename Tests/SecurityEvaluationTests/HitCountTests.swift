// SPDX-License-Identifier: MIT

import Glibc
import SecurityEvaluation
import Testing

struct HitCountTests {
    private func isNear(_ a: Double, _ b: Double) -> Bool { abs(a - b) < 1e-12 }

    /// Worked out by another program from Wilson's formula.
    @Test(
        arguments: [
            (5, 10, 0.236593090512564, 0.7634069094874361), (1, 20, 0.008881448800795402, 0.23613119344674205),
            (15, 100, 0.09305985283656631, 0.23283559590832364),
        ])
    func interval(hits: Int, trials: Int, low: Double, high: Double) {
        let interval = HitCount(hits, of: trials).interval
        #expect(isNear(interval.lowerBound, low) && isNear(interval.upperBound, high))
        let mirrored = HitCount(trials - hits, of: trials).interval
        #expect(isNear(mirrored.lowerBound, 1 - high) && isNear(mirrored.upperBound, 1 - low))
    }

    /// At the ends there is a closed form: z² / (n + z²).
    @Test(arguments: [1, 10, 50, 1000]) func endsOfTheInterval(trials: Int) {
        let z = 1.959963984540054
        let none = HitCount(0, of: trials).interval
        #expect(none.lowerBound == 0 && isNear(none.upperBound, z * z / (Double(trials) + z * z)))
        let all = HitCount(trials, of: trials).interval
        #expect(all.upperBound == 1 && isNear(all.lowerBound, Double(trials) / (Double(trials) + z * z)))
    }

    @Test func chance() {
        #expect(isNear(HitCount(0, of: 50).chance(at: 1.0 / 1540), pow(1539.0 / 1540, 50)))
        #expect(isNear(HitCount(3, of: 3).chance(at: 0.1), 0.001))
        #expect(isNear(HitCount(1, of: 3).chance(at: 0.1), 1 - 0.729), "so many or more")
        #expect(isNear(HitCount(2, of: 3).chance(at: 0.9), 1 - 0.729), "so many or fewer")
        #expect(HitCount(0, of: 3).chance(at: 1) == 0 && HitCount(3, of: 3).chance(at: 1) == 1)
        #expect(HitCount(1, of: 3).chance(at: 0) == 0 && HitCount(0, of: 3).chance(at: 0) == 1)
    }
}
