// SPDX-License-Identifier: MIT

// Random problems, and the demands of a problem written a second time, slowly,
// page by page from what `PermutationProblem` was given and never from what it
// made of it.

import PagePermutation
import TestSupport

extension PermutationProblem {
    /// Classes in pieces with holes between them, pins anywhere, glue inside classes.
    static func random(_ granule: Granule, _ random: inout TestRandom) throws -> PermutationProblem {
        let size = granule.pages
        let pageCount = Int.random(in: 1...24 * size + 1, using: &random)
        let classCount = Int.random(in: 1...4, using: &random)
        var ranges = [[Range<Int>]](repeating: [], count: classCount)
        var pieces: [Range<Int>] = []
        var page = 0
        while page < pageCount {
            let whole = Int.random(in: 1...8, using: &random) * size
            let length = Bool.random(using: &random) ? whole : Int.random(in: 1...whole, using: &random)
            let piece = page..<min(page + length, pageCount)
            let owner = Int.random(in: -1..<classCount, using: &random)
            if owner >= 0 {
                ranges[owner].append(piece)
                pieces.append(piece)
            }
            page = piece.upperBound
        }
        func part(of whole: Range<Int>, atMost: Int) -> Range<Int> {
            let first = Int.random(in: whole, using: &random)
            return first..<min(whole.upperBound, first + Int.random(in: 1...atMost, using: &random))
        }
        let pins = (0..<Int.random(in: 0...3, using: &random)).map { _ in
            Pin(pages: part(of: 0..<pageCount, atMost: 3), reason: "random", evidence: "random")
        }
        let glue = (0..<Int.random(in: 0...4, using: &random)).compactMap { _ in
            pieces.randomElement(using: &random).map { Glue(pages: part(of: $0, atMost: 3 * size), reason: "random") }
        }
        return try PermutationProblem(
            pageCount: pageCount, classes: ranges.enumerated().map { PageClass(name: "class\($0)", ranges: $1) },
            pins: pins, glue: glue, granule: granule)
    }
}

/// The demands of a problem.
struct Demands {
    let problem: PermutationProblem
    private var classOf: [Int]
    private var stays: [Bool]

    init(_ problem: PermutationProblem) {
        self.problem = problem
        classOf = [Int](repeating: -1, count: problem.pageCount)
        for (index, pageClass) in problem.classes.enumerated() {
            for page in pageClass.ranges.joined() { classOf[page] = index }
        }
        stays = classOf.map { $0 < 0 }
        for page in problem.pins.map(\.pages).joined() { stays[page] = true }
        let size = problem.granule.pages
        for first in stride(from: 0, to: problem.pageCount, by: size) {
            let pages = first..<min(first + size, problem.pageCount)
            let isWhole = pages.count == size && pages.allSatisfy { classOf[$0] == classOf[first] && !stays[$0] }
            if !isWhole { for page in pages { stays[page] = true } }
        }
    }

    /// What an order breaks; empty when it breaks nothing.
    func broken(by forward: [UInt32]) -> Set<String> {
        guard forward.count == problem.pageCount else { return ["length"] }
        guard forward.sorted() == Array(0..<UInt32(forward.count)) else { return ["bijection"] }
        var broken: Set<String> = []
        let size = problem.granule.pages
        for (page, frame) in forward.enumerated() {
            let frame = Int(frame)
            if stays[page] && frame != page { broken.insert("pin") }
            if classOf[page] != classOf[frame] { broken.insert("class") }
            if page % size != frame % size { broken.insert("granule") }
            if page % size > 0 && frame != Int(forward[page - 1]) + 1 { broken.insert("granule") }
        }
        for run in problem.glue {
            for page in run.pages.dropFirst() where forward[page] != forward[page - 1] + 1 { broken.insert("glue") }
        }
        return broken
    }
}

/// 64 hexadecimal digits, for `Seed.parse`.
func seedText(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 64 - digits.utf8.count) + digits
}
