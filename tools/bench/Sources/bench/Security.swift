// SPDX-License-Identifier: MIT

// How fast the security evaluation is, on a problem as large as a large kernel's:
// 16,384 pages in two classes, with pins, runs that stay together, and pages that
// look alike. The tests of randomness are of orders of 4,096 pages.

import PagePermutation
import SecureRandom
import SecurityEvaluation

private func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = ContinuousClock.now
    try body()
    return (ContinuousClock.now - start) / .seconds(1)
}

func evaluating() throws -> [Finding] {
    let pages = 16_384
    let problem = try PermutationProblem(
        pageCount: pages,
        classes: [PageClass(name: "text", ranges: [0..<6000]), PageClass(name: "data", ranges: [6000..<pages])],
        pins: stride(from: 100, to: pages, by: 97).map { Pin(pages: $0..<$0 + 1, reason: "bench", evidence: "") },
        glue: stride(from: 6010, to: 10_000, by: 970).map { Glue(pages: $0..<$0 + 4, reason: "bench") })
    let order = try Permutation.draw(problem, seed: try Seed.random()).forward
    let contents: [Int?] = (0..<pages).map { $0 % 7 == 0 ? nil : $0 % 5000 }
    let figures = problem.figures
    let exact = try (0..<15).map { _ in
        try seconds {
            _ = try (problem.figures, problem.demands(), problem.structure(of: order))
            _ = problem.fingerprints(contents: contents)
            for leaked in 0..<64 { _ = LeakFigures(figures[0], leaked: leaked) }
        } * 1000
    }
    let guesses = 100_000_000
    let play = PlayLength(draws: 100, guesses: guesses / 2)
    let played = try (0..<3).map { _ in
        try seconds { _ = try problem.play(figures, play, seed: try Seed.random()) }
    }
    let tested = try seconds {
        let tally = try UniformityTally.drawing(1_000_000, pageCount: 4096, seed: try Seed.random())
        precondition(tally.tests.allSatisfy(\.passes), "orders that are not equally likely")
    }
    return [
        Finding(
            claim: "exact figures of 16,384 pages", values: exact.sorted(), unit: "ms", limit: 100,
            note: "classes, demands, structure, fingerprints, 64 leaks"),
        Finding(
            claim: "10^8 guesses played", values: played.sorted(), unit: "s", limit: 10,
            note: "half of them in each of two classes, and 32 more for each page of \(play.draws) orders"),
        Finding(
            claim: "a million orders of 4,096 pages tested", values: [tested], unit: "s", limit: 60,
            note: "on all processors"),
    ]
}
