// SPDX-License-Identifier: MIT

// The frames that an attacker has to reckon with, and the places that figures count.

import PagePermutation
import SecurityEvaluation
import Testing

struct CandidateFramesTests {
    @Test func framesOfThePlan() throws {
        let classes = [PageClass(name: "a", ranges: [0..<6, 10..<12]), PageClass(name: "b", ranges: [6..<10])]
        let pin = Pin(pages: 2..<4, reason: "", evidence: "")
        let problem = try PermutationProblem(pageCount: 13, classes: classes, pins: [pin])
        #expect(problem.frames(for: 0) == [0, 1, 4, 5, 10, 11])
        #expect(problem.frames(for: 11) == [0, 1, 4, 5, 10, 11])
        #expect(problem.frames(for: 7) == [6, 7, 8, 9])
        #expect(problem.frames(for: 3) == [3], "pinned")
        #expect(problem.frames(for: 12) == [12], "in no class")
        #expect(problem.spreadsEvenly(0) && problem.spreadsEvenly(3))

        let glued = try PermutationProblem(
            pageCount: 13, classes: classes, glue: [Glue(pages: 0..<2, reason: "")])
        #expect(!glued.spreadsEvenly(5) && glued.spreadsEvenly(7) && glued.spreadsEvenly(12))
        let coarse = try PermutationProblem(
            pageCount: 32, classes: [PageClass(name: "a", ranges: [0..<32])],
            pins: [Pin(pages: 9..<10, reason: "", evidence: "")], granule: .page16K)
        #expect(coarse.frames(for: 6) == [2, 6, 14, 18, 22, 26, 30])
        #expect(coarse.frames(for: 8) == [8], "in the granule of a pinned page")
    }

    /// What attacks are predicted from and what figures are computed from is the same count.
    @Test func asManyAsFiguresCount() throws {
        let classes = [PageClass(name: "a", ranges: [0..<24, 40..<52]), PageClass(name: "b", ranges: [24..<40])]
        let problem = try PermutationProblem(
            pageCount: 64, classes: classes, pins: [Pin(pages: 9..<12, reason: "", evidence: "")], granule: .page16K)
        for page in 0..<64 {
            #expect(problem.frames(for: page).count == problem.place(of: page).distribution.candidates, "page \(page)")
        }
    }
}
