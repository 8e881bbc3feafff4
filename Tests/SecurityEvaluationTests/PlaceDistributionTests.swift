// SPDX-License-Identifier: MIT

// The figures against orders that are really drawn, and against cases small enough
// to count by hand.

import PagePermutation
import SecureRandom
import TestSupport
import Testing

@testable import SecurityEvaluation

private func problem(
    _ ranges: [Range<Int>], pins: [Range<Int>] = [], glue: [Range<Int>] = [], granule: Granule = .page4K
) throws -> PermutationProblem {
    try PermutationProblem(
        pageCount: (ranges.last?.upperBound ?? 0) + 3, classes: [PageClass(name: "data", ranges: ranges)],
        pins: pins.map { Pin(pages: $0, reason: "test", evidence: "test") },
        glue: glue.map { Glue(pages: $0, reason: "test") }, granule: granule)
}

struct PlaceDistributionTests {
    @Test func withoutGlueEveryPlaceIsAsLikely() throws {
        let figures = try problem([0..<16]).figures[0]
        #expect(figures.candidates == 16)
        #expect(figures.targetBits == 4)
        #expect(figures.minEntropy == 4)
        #expect(figures.guessesSameOrder == 8.5)
        #expect(figures.guessesFreshOrder == 16)
        #expect(!figures.isBound)
        // 16! = 20,922,789,888,000
        #expect(abs(figures.jointBits - 44.250140) < 1e-6)
    }

    /// The wrong claim that a class has as many candidates as pages.
    @Test func pinnedPagesAreNoCandidates() throws {
        let figures = try problem([0..<16], pins: [0..<8]).figures[0]
        #expect(figures.pages == 16)
        #expect(figures.movable == 8)
        #expect(figures.candidates == 8)
        #expect(figures.targetBits == 3)
        let place = try problem([0..<16], pins: [0..<8]).place(of: 3)
        #expect(place.name == "data")
        #expect(place.distribution == PlaceDistribution(uniformOver: 1))
    }

    @Test func granulesCountNotPages() throws {
        // 2 to 18: granules 1, 2, 3 are whole.
        let figures = try problem([2..<18], granule: .page16K).figures[0]
        #expect(figures.candidates == 3)
        #expect(figures.movable == 12)
    }

    @Test func classesThatCannotMove() throws {
        let figures = try problem([0..<4], pins: [0..<4]).figures[0]
        #expect(figures.candidates == 1)
        #expect(figures.minEntropy == 0)
        #expect(figures.guessesSameOrder == 1)
    }

    /// Six slots, a run of three: it begins at 0 to 3, so that slots 2 and 3 are covered three times out of four.
    @Test func oneRunByHand() throws {
        let problem = try problem([0..<6], glue: [1..<4])
        let run = problem.place(of: 2).distribution
        #expect(run.candidates == 4)
        #expect(run.likeliest == 0.25)
        let single = problem.place(of: 5).distribution
        #expect(single.candidates == 6)
        #expect(abs(single.likeliest - 0.25) < 1e-12)
        // 1/4, 1/4, 1/6, 1/6, 1/12, 1/12 in that order of trying.
        let tries: Double = 3.0 / 4 + 7.0 / 6 + 11.0 / 12
        #expect(abs(single.meanTries - tries) < 1e-12)
    }

    /// Counted over drawn orders: no place is likelier than said, and with one run the chances are those said.
    @Test(arguments: [[3..<6], [3..<6, 10..<12], [0..<5, 8..<13, 14..<16]])
    func drawnOrdersKeepTheBounds(glue: [Range<Int>]) throws {
        let problem = try problem([0..<9, 11..<20], glue: glue.filter { !$0.contains(9) && !$0.contains(10) })
        let draws = 20_000
        var counts = [[Int]](repeating: [Int](repeating: 0, count: problem.pageCount), count: problem.pageCount)
        let root = try Seed.forTest()
        for number in 0..<draws {
            let order = try Permutation.draw(problem, seed: try Seed.derived(from: root, number: number))
            for (page, frame) in order.forward.enumerated() { counts[page][Int(frame)] += 1 }
        }
        for page in 0..<20 {
            let place = problem.place(of: page).distribution
            let most = Double(counts[page].max() ?? 0) / Double(draws)
            let error = 5 * (place.likeliest / Double(draws)).squareRoot()
            #expect(most <= place.likeliest + error, TestRandom.comment("page \(page)"))
            if !place.isBound { #expect(most >= place.likeliest - error, TestRandom.comment("page \(page)")) }
            #expect(counts[page].count { $0 > 0 } <= place.candidates, TestRandom.comment("page \(page)"))
        }
    }
}
