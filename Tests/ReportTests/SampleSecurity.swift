// SPDX-License-Identifier: MIT

// A report of security whose figures are those of a small problem, with names that
// would like to be something else.

import Foundation
import PagePermutation
import Report
import SecurityEvaluation

enum SampleSecurity {
    static let pages = 5200

    static func problem() throws -> PermutationProblem {
        try PermutationProblem(
            pageCount: pages,
            classes: [
                PageClass(name: "text", ranges: [0..<3000]),
                PageClass(name: SampleReport.hostile, ranges: [3000..<5000]),
            ],
            pins: [
                Pin(pages: 0..<10, reason: SampleReport.hostile, evidence: "first"),
                Pin(pages: 3000..<3400, reason: "page table", evidence: "second"),
            ])
    }

    static func attack(
        _ kind: String, isPermuted: Bool, hits: Int, of boots: Int, prediction: Double, leaked: Int = 0,
        contradictions: Int = 0, namesKernel: Bool = true
    ) -> SecurityReport.Attack {
        SecurityReport.Attack(
            kind: kind, words: "\(kind) attack on target", target: SampleReport.hostile, pageClass: "data",
            isPermuted: isPermuted, frames: isPermuted ? 1600 : 1, leaked: leaked, reads: 0, prediction: prediction,
            isExact: true, count: HitCount(hits, of: boots), crashed: 0, refused: 0, notFound: 0,
            contradictions: contradictions, secondsPerBoot: 3.5, files: ["a.json", "b.json"], namesKernel: namesKernel)
    }

    static let attacks = [
        attack("modprobe-path", isPermuted: false, hits: 10, of: 10, prediction: 1),
        attack("modprobe-path", isPermuted: true, hits: 0, of: 50, prediction: 1.0 / 1600, namesKernel: false),
        attack("leak", isPermuted: true, hits: 6, of: 50, prediction: 0.1, leaked: 1590),
    ]

    static func make(
        attacks: [SecurityReport.Attack] = attacks, isQuick: Bool = false, played: Double = 1600,
        state: String = "drawn at boot"
    ) throws -> SecurityReport {
        let problem = try problem()
        let classes = problem.figures
        let kaslr = KASLRSlots(imageSize: 5200 << 12, lowest: 1 << 24, alignment: 2 << 20, memory: 4 << 30)
        func target(_ name: String, page: Int, stays: String?) -> EvaluationReport.Target {
            let place = problem.place(of: page).distribution
            return EvaluationReport.Target(
                name: name, use: stays == nil ? "a path" : nil, address: "0xffffffff81234567", page: page,
                pageClass: "data", candidates: place.candidates, targetBits: place.bits, minEntropy: place.minEntropy,
                bitsWithoutPosition: problem.minEntropyWithoutPosition(of: page, kaslr),
                expectedGuessesSameOrder: place.expectedGuesses(.sameOrder),
                expectedGuessesFreshOrder: place.expectedGuesses(.freshOrder), isBound: false,
                chances: [1, 10].map {
                    EvaluationReport.Chance(
                        guesses: $0, sameOrder: place.success(within: $0, .sameOrder),
                        freshOrder: place.success(within: $0, .freshOrder))
                }, stays: stays)
        }
        var evaluation = EvaluationReport(
            file: "/somewhere/\(SampleReport.hostile)", release: SampleReport.hostile, state: state, granule: "4K",
            pages: pages, counted: 5000, limits: ["first limit", "second limit \(SampleReport.hostile)"],
            classes: classes, demands: try problem.demands(),
            targets: [
                target("modprobe_path", page: 4000, stays: nil), target("idt_table", page: 3100, stays: "page table"),
            ],
            leaks: classes.map { figures in
                EvaluationReport.ClassLeaks(
                    name: figures.name, leaks: [1, 100].map { LeakFigures(figures, leaked: $0) })
            },
            fingerprints: problem.fingerprints(contents: (0..<pages).map { $0 % 2 == 0 ? $0 : nil }), kaslr: kaslr,
            comparison: DefenceRow.all(
                ComparisonInput(
                    kaslr: kaslr, linearMap: 1, functions: 4096, objectFiles: 0, targetIsCode: false,
                    target: problem.place(of: 4000).distribution,
                    bitsWithoutPosition: problem.minEntropyWithoutPosition(of: 4000, kaslr),
                    bitsAfterOneLeak: LeakFigures(classes[1], leaked: 1).bitsOfOthers)),
            comparedTarget: "modprobe_path",
            exposed: [
                EvaluationReport.Exposed(
                    reason: SampleReport.hostile, pages: 10, evidence: ["first", "second", "third", "fourth"])
            ],
            structure: nil)
        var randomness: SecurityReport.Randomness?
        if !isQuick {
            evaluation.gadgets = GadgetFigures(ends: 1000, gadgets: 123_456, different: 2345)
            evaluation.played = [
                try JSONDecoder().decode(
                    PlayedFigure.self,
                    from: Data(
                        """
                        {"figure": "text: guesses", "computed": 1600, "played": \(played),
                         "differenceInBits": \(abs(log2(played / 1600)))}
                        """.utf8))
            ]
            let test = Data(#"{"name": "positions", "statistic": 1, "p": 0.25}"#.utf8)
            randomness = SecurityReport.Randomness(
                draws: 100_000, pages: 4096, limit: 1e-6,
                tests: [try JSONDecoder().decode(RandomnessTest.self, from: test)])
        }
        let frames = stride(from: 0, to: pages, by: 3).map { $0 < 5000 ? ($0 * 7 + 1) % 5000 : $0 }
        return SecurityReport(
            tool: "0.0.0", generated: "2026-01-02T03:04:05Z", architecture: "x86-64", build: SampleReport.hostile,
            evaluation: evaluation, attacks: attacks,
            map: SecurityReport.PageMap(
                seed: "5eed", step: 3, frames: frames,
                pageClasses: frames.indices.map { $0 * 3 < 3000 ? 0 : $0 * 3 < 5000 ? 1 : -1 },
                structure: problem.structure(of: (0..<UInt32(pages)).map { $0 })), randomness: randomness)
    }
}
