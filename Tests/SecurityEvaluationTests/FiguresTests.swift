// SPDX-License-Identifier: MIT

// Guesses, leaks, what remains of the linear order, and what reading gives away.

import PagePermutation
import SecureRandom
import TestSupport
import Testing

@testable import SecurityEvaluation

private func problem(_ count: Int, granule: Granule = .page4K) throws -> PermutationProblem {
    try PermutationProblem(
        pageCount: count, classes: [PageClass(name: "text", ranges: [0..<count])], granule: granule)
}

struct FiguresTests {
    @Test func guesses() {
        let place = PlaceDistribution(uniformOver: 4)
        #expect(place.success(within: 1, .sameOrder) == 0.25)
        #expect(place.success(within: 4, .sameOrder) == 1)
        #expect(place.success(within: 9, .sameOrder) == 1)
        #expect(place.success(within: 2, .freshOrder) == 1 - 0.75 * 0.75)
        #expect(place.success(within: 0, .freshOrder) == 0)
        #expect(PlaceDistribution(uniformOver: 1).expectedGuesses(.freshOrder) == 1)
    }

    @Test func leaks() {
        let figures = LeakFigures(candidates: 16, leaked: 8)
        #expect(figures.targetLeaked == 0.5)
        #expect(figures.bitsOfOthers == 3)
        #expect(figures.averageBits == 1.5)
        // 8! = 40320
        #expect(abs(figures.jointBits - 15.299208) < 1e-6)
        #expect(LeakFigures(candidates: 16, leaked: 16).jointBits == 0)
        #expect(LeakFigures(candidates: 1, leaked: 0).bitsOfOthers == 0)
    }

    @Test func structureOfTheIdentity() throws {
        let structure = try problem(8).structure(of: (0..<8).map { $0 })[0]
        #expect(structure.fixedPoints == 8)
        #expect(structure.keptNeighbours == 7)
        #expect(structure.longestRun == 8)
        // 1 / 8!
        #expect(abs(structure.expectedRunsOfThatLength - 1 / 40320) < 1e-12)
        #expect(structure.expectedKeptNeighbours == 7.0 / 8)
    }

    /// Means over drawn orders are those that are computed.
    @Test func structureOfDrawnOrders() throws {
        let ranges = [0..<20, 24..<31]
        let problem = try PermutationProblem(
            pageCount: 31, classes: [PageClass(name: "text", ranges: ranges)],
            pins: [Pin(pages: 5..<7, reason: "", evidence: "")])
        let root = try Seed.forTest()
        var (kept, fixed) = (0, 0)
        let draws = 20_000
        var expected = 0.0
        for number in 0..<draws {
            let order = try Permutation.draw(problem, seed: try Seed.derived(from: root, number: number))
            let structure = problem.structure(of: order.forward)[0]
            kept += structure.keptNeighbours
            fixed += structure.fixedPoints
            expected = structure.expectedKeptNeighbours
        }
        #expect(abs(Double(kept) / Double(draws) - expected) < 0.05, TestRandom.comment())
        #expect(abs(Double(fixed) / Double(draws) - 1) < 0.05, TestRandom.comment())
    }

    @Test func demandsTakeAwayOneAfterTheOther() throws {
        let problem = try PermutationProblem(
            pageCount: 64,
            classes: [PageClass(name: "text", ranges: [0..<32]), PageClass(name: "data", ranges: [32..<64])],
            pins: [Pin(pages: 0..<16, reason: "", evidence: "")], glue: [Glue(pages: 40..<44, reason: "")])
        let demands = try problem.demands()
        #expect(demands.map { $0.targetBits["text"] } == [6, 5, 5, 4, 4])
        #expect(demands.map { $0.targetBits["data"] } == [6, 5, 5, 5, 5])
        #expect(zip(demands, demands.dropFirst()).allSatisfy { $0.jointBits >= $1.jointBits })
    }

    @Test func readingGivesAway() throws {
        // Pages 0 to 3 have contents of their own, 4 to 7 are alike, 8 to 15 are not in the file.
        let contents = (0..<16).map { $0 < 4 ? $0 : $0 < 8 ? 99 : nil }
        let figures = try problem(16).fingerprints(contents: contents)[0]
        #expect(figures.unique == 4)
        #expect(figures.shared == 4)
        #expect(figures.unknown == 8)
        // 4 pages of log2 4 bits and 8 of log2 8, of 16.
        #expect(figures.bitsAfterReadingAll == 2)
        #expect(figures.readsToFind == 8.5)
    }

    @Test func slotsOfKASLR() {
        let slots = KASLRSlots(imageSize: 32 << 20, lowest: 16 << 20, alignment: 2 << 20, memory: 1 << 30)
        // (1024 - 16 - 32) / 2 + 1
        #expect(slots.physical == 489)
        #expect(slots.virtual == 489)
        let small = KASLRSlots(imageSize: 32 << 20, lowest: 16 << 20, alignment: 2 << 20, memory: 40 << 20)
        #expect(small.physical == 0)
        #expect(small.physicalBits == 0)
    }

    /// The one granule of a class cannot move, nor can its pages.
    @Test func onlyPlace() throws {
        let one = try problem(20, granule: .page64K).figures[0]
        #expect(one.candidates == 1 && one.movable == 0 && one.targetBits == 0 && one.jointBits == 0)
        #expect(try problem(32, granule: .page64K).figures[0].movable == 32)
    }

    @Test func playedFiguresAgree() throws {
        let problem = try PermutationProblem(
            pageCount: 400,
            classes: [PageClass(name: "text", ranges: [0..<300]), PageClass(name: "data", ranges: [300..<400])],
            pins: [Pin(pages: 0..<100, reason: "", evidence: "")])
        let played = try problem.play(
            problem.figures, PlayLength(draws: 400, guesses: 1_000_000), seed: try Seed.forTest())
        #expect(played.count == 6)
        for figure in played { #expect(figure.agrees, TestRandom.comment("\(figure)")) }
    }

    /// A class counted with its pins promises more than there is; playing shows it.
    @Test func playingCatchesAWrongClaim() throws {
        let honest = try PermutationProblem(
            pageCount: 200, classes: [PageClass(name: "text", ranges: [0..<200])],
            pins: [Pin(pages: 0..<100, reason: "", evidence: "")])
        let wrong = try problem(200)
        let played = try honest.play(
            wrong.figures, PlayLength(draws: 400, guesses: 1_000_000), seed: try Seed.forTest())
        #expect(played.count == 3)
        for figure in played { #expect(!figure.agrees, TestRandom.comment("\(figure)")) }
    }
}
