// SPDX-License-Identifier: MIT

// What holds for every drawn permutation, over thousands of random problems.

import Addressing
import PagePermutation
import SecureRandom
import TestSupport
import Testing

struct InvariantTests {
    /// How many random problems for each granule: large granules have many pages.
    static let problems: [(Granule, Int)] = [(.page4K, 2000), (.page16K, 800), (.page64K, 250), (.page2M, 40)]

    private func draw(_ problem: PermutationProblem, _ number: UInt64) throws -> Permutation {
        let seed = try Seed.parse(hexadecimal: seedText(number))
        return try Permutation.draw(problem, seed: seed)
    }

    @Test(arguments: problems)
    func everyDrawnPermutationAnswersItsProblem(granule: Granule, count: Int) throws {
        var random = TestRandom()
        var moved = 0
        for number in 0..<count {
            let problem = try PermutationProblem.random(granule, &random)
            let seed = random.next()
            let drawn = try draw(problem, seed)
            let comment = TestRandom.comment("problem \(number) of granule \(granule)")
            #expect(Demands(problem).broken(by: drawn.forward) == [], comment)
            #expect(try Permutation(forward: drawn.forward, for: problem) == drawn, comment)
            #expect(drawn.forward.indices.allSatisfy { Int(drawn.inverse[Int(drawn.forward[$0])]) == $0 }, comment)
            #expect(try draw(problem, seed) == drawn, comment)
            let movable = problem.classes.indices.reduce(0) { $0 + problem.movablePages(inClass: $1) }
            #expect(drawn.movedCount <= movable, comment)
            moved += drawn.movedCount
        }
        #expect(moved > 0, TestRandom.comment())
    }

    /// Two entries exchanged: the result is accepted exactly when it breaks no demand.
    @Test func exchangedEntriesAreAcceptedWhenTheyBreakNothing() throws {
        var random = TestRandom()
        var accepted = 0
        var refused = 0
        for number in 0..<2000 {
            let problem = try PermutationProblem.random(number % 2 == 0 ? .page4K : .page16K, &random)
            var forward = try draw(problem, random.next()).forward
            let a = Int.random(in: forward.indices, using: &random)
            forward.swapAt(a, Int.random(in: forward.indices, using: &random))
            let breaks = Demands(problem).broken(by: forward)
            let comment = TestRandom.comment("problem \(number) breaks \(breaks)")
            do {
                _ = try Permutation(forward: forward, for: problem)
                #expect(breaks == [], comment)
                accepted += 1
            } catch {
                #expect(breaks != [], comment)
                refused += 1
            }
        }
        #expect(accepted > 50 && refused > 50, TestRandom.comment())
    }

    @Test func anotherSeedAnotherPermutation() throws {
        let problem = try PermutationProblem(
            pageCount: 64, classes: [PageClass(name: "text", ranges: [0..<64])])
        let drawn = try Set((0..<200).map { try draw(problem, $0).forward })
        #expect(drawn.count == 200)
    }

    /// What one class draws depends on nothing but the seed, its name and its own pages.
    @Test func classesDrawApart() throws {
        let text = PageClass(name: "text", ranges: [0..<30])
        let alone = try PermutationProblem(pageCount: 60, classes: [text])
        let beside = try PermutationProblem(
            pageCount: 60, classes: [PageClass(name: "data", ranges: [30..<60]), text])
        let (first, second) = (try draw(alone, 7).forward, try draw(beside, 7).forward)
        #expect(first[..<30] == second[..<30])
        #expect(second[30...].map { $0 - 30 } != Array(second[..<30]))
    }

    @Test func identity() throws {
        let identity = Permutation(identity: 5)
        #expect(identity.forward == [0, 1, 2, 3, 4] && identity.inverse == identity.forward)
        #expect(identity.movedCount == 0 && identity.keptNeighbours == 0)
    }

    @Test func countsAndLookups() throws {
        let problem = try PermutationProblem(pageCount: 6, classes: [PageClass(name: "all", ranges: [0..<6])])
        let permutation = try Permutation(forward: [3, 4, 2, 5, 0, 1], for: problem)
        #expect(permutation.inverse == [4, 5, 2, 0, 1, 3])
        #expect(permutation.movedCount == 5)
        #expect(permutation.keptNeighbours == 2)
        #expect(permutation.frame(of: Page(3)).index == 5)
        #expect(permutation.page(in: Frame(5)).index == 3)
    }
}
