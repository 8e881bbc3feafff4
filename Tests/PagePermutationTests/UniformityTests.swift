// SPDX-License-Identifier: MIT

// Every arrangement is as likely as any other: chi-square over 24,000 draws
// from fixed seeds, so a pass is a pass for ever. The same check catches a
// shuffle with the best known bias.

import PagePermutation
import SecureRandom
import Testing

/// Against equal chances.
func chiSquare(_ counts: [Int]) -> Double {
    let expected = Double(counts.reduce(0, +)) / Double(counts.count)
    return counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
}

struct UniformityTests {
    /// 23 degrees of freedom: a fair draw exceeds this once in a million.
    private static let bound = 71.0

    /// How often each arrangement of `size` pages came, from 24 seeds and 1000 classes.
    private func arrangements(of size: Int, glue: Range<Int>? = nil) throws -> [[UInt32]: Int] {
        let classes = (0..<1000).map { PageClass(name: "class\($0)", ranges: [$0 * size..<($0 + 1) * size]) }
        let runs = glue.map { glue in
            (0..<1000).map { Glue(pages: $0 * size + glue.lowerBound..<$0 * size + glue.upperBound, reason: "test") }
        }
        let problem = try PermutationProblem(pageCount: 1000 * size, classes: classes, glue: runs ?? [])
        var counts: [[UInt32]: Int] = [:]
        for number in 0..<24 {
            let seed = try Seed.parse(hexadecimal: seedText(UInt64(number)))
            let forward = try Permutation.draw(problem, seed: seed).forward
            for first in stride(from: 0, to: forward.count, by: size) {
                counts[forward[first..<first + size].map { $0 - UInt32(first) }, default: 0] += 1
            }
        }
        return counts
    }

    @Test func fourPages() throws {
        let counts = try arrangements(of: 4)
        #expect(counts.count == 24)
        #expect(chiSquare(Array(counts.values)) < Self.bound)
    }

    /// A run of two in five pages: four places, and 3! arrangements of the others.
    @Test func aRunAndThreePages() throws {
        let counts = try arrangements(of: 5, glue: 1..<3)
        #expect(counts.count == 24)
        #expect(chiSquare(Array(counts.values)) < Self.bound)
    }

    /// Every position exchanged with any position: 4^4 ways onto 24 arrangements.
    @Test func aBiasedShuffleIsCaught() throws {
        var stream = try TestSeed.one.stream("biased")
        var counts: [[Int]: Int] = [:]
        for _ in 0..<24_000 {
            var order = [0, 1, 2, 3]
            for i in order.indices { order.swapAt(i, Int(stream.uniform(below: 4))) }
            counts[order, default: 0] += 1
        }
        #expect(counts.count == 24)
        #expect(chiSquare(Array(counts.values)) > Self.bound)
    }

    /// Without the exchange of a page with itself only the six cycles of four come up.
    @Test func aShuffleWithoutFixedPointsIsCaught() throws {
        var stream = try TestSeed.one.stream("cycles")
        var counts: [[Int]: Int] = [:]
        for _ in 0..<24_000 {
            var order = [0, 1, 2, 3]
            for i in [3, 2, 1] { order.swapAt(i, Int(stream.uniform(below: UInt32(i)))) }
            counts[order, default: 0] += 1
        }
        #expect(counts.count == 6)
    }
}
