// SPDX-License-Identifier: MIT

// What constraints cost, against numbers counted by hand and against the
// number of permutations that really answer a small problem.

import Foundation
import SecureRandom
import Testing

@testable import PagePermutation

struct EntropyTests {
    private func free(_ granule: Granule = .page4K) throws -> PermutationProblem {
        try PermutationProblem(
            pageCount: 40,
            classes: [PageClass(name: "text", ranges: [0..<16]), PageClass(name: "data", ranges: [16..<24, 32..<40])],
            granule: granule)
    }

    private func pin(_ pages: Range<Int>) -> Pin { Pin(pages: pages, reason: "test", evidence: "test") }

    private func isNear(_ a: Double, _ b: Double) -> Bool { abs(a - b) < 1e-9 }

    private func factorial(_ n: Int) -> Double { log2((1...n).reduce(1.0) { $0 * Double($1) }) }

    @Test func nothingAsked() throws {
        let left = try free().entropy
        #expect(left.map(\.name) == ["text", "data"])
        #expect(left.allSatisfy { isNear($0.target, 4) && isNear($0.joint, factorial(16)) })
        #expect(try free().entropyLost(since: free()).isEmpty)
        #expect(try free(.page16K).entropy.allSatisfy { isNear($0.target, 2) && isNear($0.joint, factorial(4)) })
    }

    @Test func aPinTakesItsPages() throws {
        let lost = try free().with(pins: [pin(3..<5), pin(4..<5)]).entropyLost(since: free())
        #expect(lost.map(\.name) == ["text"])
        #expect(isNear(lost[0].target, log2(16.0 / 14)) && isNear(lost[0].joint, log2(16.0 * 15)))
        // A whole granule goes with its page; what is in no class costs nothing.
        let granule = try free(.page16K).with(pins: [pin(3..<4)]).entropyLost(since: free(.page16K))
        #expect(isNear(granule[0].target, log2(4.0 / 3)) && isNear(granule[0].joint, 2))
        #expect(try free().with(pins: [pin(24..<32)]).entropyLost(since: free()).isEmpty)
        let all = try free().with(pins: [pin(0..<16)])
        #expect(all.entropy[0] == ClassEntropy(name: "text", target: 0, joint: 0))
    }

    /// As many orders as there are of the units.
    @Test func gluedPagesAreOneUnit() throws {
        let lost = try free().with(pins: [], glue: [Glue(pages: 2..<5, reason: "test")]).entropyLost(since: free())
        #expect(lost.map(\.name) == ["text"])
        #expect(isNear(lost[0].target, 0) && isNear(lost[0].joint, factorial(16) - factorial(14)))
        // A run that holds a pinned page stays as a whole.
        let stays = try free().with(pins: [pin(3..<4)], glue: [Glue(pages: 2..<5, reason: "test")])
        #expect(isNear(stays.entropyLost(since: try free())[0].target, log2(16.0 / 13)))
        // What takes constraints away gives back what they cost.
        let back = try free().entropyLost(since: stays)[0]
        #expect(isNear(back.joint, factorial(13) - factorial(16)) && isNear(back.target, log2(13.0 / 16)))
    }

    /// One more pin costs what the problem with it lacks, wherever it lies and whatever else is asked.
    @Test(arguments: Granule.allCases.prefix(2)) func onePinMore(granule: Granule) throws {
        let problem = try free(granule).with(
            pins: [pin(9..<10)], glue: [2..<5, 16..<18, 34..<37].map { Glue(pages: $0, reason: "test") })
        for first in 0..<40 {
            for end in first + 1...40 {
                let fast = problem.entropyLost(adding: pin(first..<end))
                let slow = try problem.with(pins: [pin(first..<end)]).entropyLost(since: problem)
                let isSame = fast.map(\.rounded) == slow.map(\.rounded)
                #expect(isSame, "\(first)..<\(end): \(fast), \(slow)")
            }
        }
    }

    /// Drawing gives every order of the units, and no other.
    @Test func drawnOrders() throws {
        let small = try PermutationProblem(
            pageCount: 6, classes: [PageClass(name: "text", ranges: [0..<6])], pins: [pin(0..<1)],
            glue: [Glue(pages: 2..<4, reason: "test")])
        var seen: Set<[UInt32]> = []
        for _ in 0..<2000 { seen.insert(try Permutation.draw(small, seed: Seed.random()).forward) }
        #expect(isNear(log2(Double(seen.count)), small.entropy[0].joint))
    }
}
