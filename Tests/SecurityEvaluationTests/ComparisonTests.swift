// SPDX-License-Identifier: MIT

// What is not known beside the order: where the image begins, where the linear map
// does. Bits of two secrets add up only as far as their places differ.

import PagePermutation
import Testing

@testable import SecurityEvaluation

struct ComparisonTests {
    private static let kaslr = KASLRSlots(imageSize: 40 << 20, lowest: 16 << 20, alignment: 2 << 20, memory: 4 << 30)

    private static func problem(_ ranges: [Range<Int>], pins: [Pin] = [], glue: [Glue] = []) throws
        -> PermutationProblem
    {
        try PermutationProblem(
            pageCount: 4000, classes: [PageClass(name: "text", ranges: ranges)], pins: pins, glue: glue)
    }

    /// The likeliest frame of memory, by trying all slots with all frames.
    private static func likeliest(_ frames: [Int], _ kaslr: KASLRSlots) -> Double {
        var counts: [Int: Int] = [:]
        for slot in 0..<kaslr.physical { for frame in frames { counts[slot * 512 + frame, default: 0] += 1 } }
        return Double(counts.values.max() ?? 0) / Double(kaslr.physical * frames.count)
    }

    @Test(arguments: [[0..<4000], [100..<700], [0..<512], [0..<513], [0..<100, 1000..<1200, 3000..<3600]])
    func frameOfMemory(ranges: [Range<Int>]) throws {
        let problem = try Self.problem(ranges)
        let page = ranges[0].lowerBound
        for kaslr in [
            Self.kaslr, KASLRSlots(imageSize: 40 << 20, lowest: 16 << 20, alignment: 2 << 20, memory: 60 << 20),
        ] {
            let bits = problem.minEntropyWithoutPosition(of: page, kaslr)
            #expect(abs(bits + Self.likeliest(problem.frames(for: page), kaslr).log2) < 1e-9)
            // No more than memory has frames.
            #expect(bits <= Double(kaslr.memory >> 12).log2)
        }
    }

    @Test func pinnedPageHasThePositionOnly() throws {
        let problem = try Self.problem([0..<4000], pins: [Pin(pages: 7..<8, reason: "", evidence: "")])
        #expect(abs(problem.minEntropyWithoutPosition(of: 7, Self.kaslr) - Self.kaslr.physicalBits) < 1e-6)
        let known = KASLRSlots(imageSize: 40 << 20, lowest: 16 << 20, alignment: 2 << 20, memory: 40 << 20)
        #expect(problem.minEntropyWithoutPosition(of: 7, known) == 0)
        #expect(abs(problem.minEntropyWithoutPosition(of: 8, known) - 3999.0.log2) < 1e-9)
    }

    /// (0xfffffe0000000000 - 0xffff888000000000 - 44 TiB) / 3 = 24.5 TiB, in steps of a GiB.
    @Test func linearMap() {
        #expect(KASLRSlots.linearMap(memory: 4 << 30) == 25089)
        // 2021 slots of 2 MiB are 4 GiB wide: four places of the map lead to the same address.
        #expect(Self.kaslr.physical == 2021)
        let bits = Self.kaslr.linearBits(physicalBits: Self.kaslr.physicalBits, linearMap: 25089)
        #expect(abs(bits - (2021.0 * 25089 / 4).log2) < 1e-5)
        #expect(Self.kaslr.linearBits(physicalBits: 5, linearMap: 1) == 5)
    }

    @Test func rows() throws {
        let problem = try Self.problem([0..<4000])
        func rows(isCode: Bool) -> [String: DefenceRow] {
            let rows = DefenceRow.all(
                ComparisonInput(
                    kaslr: Self.kaslr, linearMap: 1024, functions: 4096, objectFiles: 256, targetIsCode: isCode,
                    target: problem.place(of: 0).distribution,
                    bitsWithoutPosition: problem.minEntropyWithoutPosition(of: 0, Self.kaslr), bitsAfterOneLeak: 11))
            return Dictionary(uniqueKeysWithValues: rows.map { ($0.defence, $0) })
        }
        func bits(_ row: DefenceRow?, _ threat: Threat) throws -> Double {
            try #require(row?.bits?[threat.rawValue])
        }
        for isCode in [false, true] {
            let rows = rows(isCode: isCode)
            for threat in Threat.allCases { #expect(try bits(rows[DefenceRow.none], threat) == 0) }
            // Order of functions hides gadgets, whatever the page that is written to.
            #expect(try bits(rows["FGKASLR"], .virtualLeak) == 12)
            let position = Self.kaslr.physicalBits
            #expect(abs(try bits(rows["FGKASLR"], .blindWrite) - position - (isCode ? 12 : 0)) < 1e-5)
            #expect(try bits(rows["Linux KASLR, virtual"], .linearAlias) == 10)
            #expect(try bits(rows["Linux KASLR, virtual"], .blindWrite) == 0)
            #expect(abs(try bits(rows[DefenceRow.physicalKASLR], .linearAlias) - position - 8) < 1e-5)
            #expect(try bits(rows["OpenBSD KARL"], .blindWrite) == 8)
            #expect(abs(try bits(rows[DefenceRow.kperm], .blindWrite) - 4000.0.log2) < 1e-5)
            // 4000 pages are longer than seven slots are apart.
            let both = try bits(rows[DefenceRow.kpermWithKASLR], .blindWrite)
            #expect(abs(both - position - 4000.0.log2 + 3) < 1e-5)
            for row in rows.values { #expect(try bits(row, .readWrite) == 0) }
        }
    }

    /// With glued pages no leak figure promises more than the class has.
    @Test func leaksBesideGlue() throws {
        let problem = try Self.problem(
            [0..<100], glue: [Glue(pages: 10..<20, reason: ""), Glue(pages: 30..<32, reason: "")])
        let figures = problem.figures[0]
        #expect(figures.glued == 12)
        let none = LeakFigures(figures, leaked: 0)
        #expect(none.isBound && none.bitsOfOthers <= figures.minEntropy && none.jointBits <= figures.jointBits)
        #expect(abs(LeakFigures(figures, leaked: 24).bitsOfOthers - 6) < 1e-9)
        #expect(LeakFigures(figures, leaked: 100).bitsOfOthers == 0)
        #expect(!LeakFigures(try Self.problem([0..<100]).figures[0], leaked: 0).isBound)
    }
}
