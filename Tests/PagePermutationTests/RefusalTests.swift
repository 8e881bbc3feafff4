// SPDX-License-Identifier: MIT

// A permutation that breaks its problem's demands cannot be made, nor a problem
// that contradicts itself. Each way of breaking them, by hand, with the error
// that names it.

import PagePermutation
import Testing

struct RefusedPermutationTests {
    /// 12 pages: text 0..<6 with page 1 pinned and 3..<5 glued, data 6..<10, the rest in no class.
    private let problem: PermutationProblem

    init() throws {
        problem = try PermutationProblem(
            pageCount: 12,
            classes: [PageClass(name: "text", ranges: [0..<6]), PageClass(name: "data", ranges: [6..<10])],
            pins: [Pin(pages: 1..<2, reason: "test", evidence: "test")], glue: [Glue(pages: 3..<5, reason: "test")])
    }

    @Test func aGoodOneIsAccepted() throws {
        let permutation = try Permutation(forward: [5, 1, 4, 2, 3, 0, 9, 8, 7, 6, 10, 11], for: problem)
        #expect(permutation.inverse == [5, 1, 3, 4, 2, 0, 9, 8, 7, 6, 10, 11])
    }

    static let brokenOrders: [([UInt32], PermutationError)] = [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], PermutationError.wrongLength(11, expected: 12)),
        ([], .wrongLength(0, expected: 12)),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], .wrongLength(13, expected: 12)),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 10, 11], .notABijection(page: 9, frame: 8)),
        ([12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], .notABijection(page: 0, frame: 12)),
        ([.max, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], .notABijection(page: 0, frame: Int(UInt32.max))),
        ([6, 1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 11], .leavesClass(page: 0, frame: 6)),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 9, 11], .leavesClass(page: 9, frame: 10)),
        ([0, 2, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11], .movesPinned(page: 1)),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 10], .movesPinned(page: 10)),
        ([0, 1, 2, 4, 3, 5, 6, 7, 8, 9, 10, 11], .breaksGlue(page: 4)),
        ([0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11], .breaksGlue(page: 4)),
    ]

    @Test(arguments: brokenOrders)
    func handBroken(forward: [UInt32], error: PermutationError) {
        #expect(throws: error) { try Permutation(forward: forward, for: problem) }
        #expect(!error.description.isEmpty)
    }

    static let brokenGranules: [([UInt32], PermutationError)] = [
        ([1, 0, 2, 3, 4, 5, 6, 7], PermutationError.breaksGranule(page: 0)),
        ([4, 5, 6, 3, 0, 1, 2, 7], .breaksGranule(page: 3)),
        ([1, 2, 3, 4, 5, 6, 7, 0], .breaksGranule(page: 0)),
        ([4, 5, 6, 7, 0, 1, 3, 2], .breaksGranule(page: 6)),
    ]

    @Test(arguments: brokenGranules)
    func brokenGranule(forward: [UInt32], error: PermutationError) throws {
        let problem = try PermutationProblem(
            pageCount: 8, classes: [PageClass(name: "text", ranges: [0..<8])], granule: .page16K)
        #expect(throws: error) { try Permutation(forward: forward, for: problem) }
        #expect(try Permutation(forward: [4, 5, 6, 7, 0, 1, 2, 3], for: problem).movedCount == 8)
    }
}

struct ProblemTests {
    private func problem(
        _ classes: [PageClass], pins: [Range<Int>] = [], glue: [Range<Int>] = [], granule: Granule = .page4K
    ) throws(ProblemError) -> PermutationProblem {
        try PermutationProblem(
            pageCount: 16, classes: classes, pins: pins.map { Pin(pages: $0, reason: "test", evidence: "test") },
            glue: glue.map { Glue(pages: $0, reason: "test") }, granule: granule)
    }

    private let text = PageClass(name: "text", ranges: [0..<6])
    private let data = PageClass(name: "data", ranges: [8..<16])

    @Test(arguments: [10..<17, 16..<18, -1..<2])
    func classOutside(pages: Range<Int>) {
        #expect(throws: ProblemError.classOutside(name: "bss", pages: pages, pageCount: 16)) {
            try problem([text, PageClass(name: "bss", ranges: [pages])])
        }
    }

    @Test func classesOverlap() {
        #expect(throws: ProblemError.classesOverlap(first: "text", second: "bss", page: 5)) {
            try problem([text, PageClass(name: "bss", ranges: [7..<8, 5..<6])])
        }
        #expect(throws: ProblemError.classesOverlap(first: "bss", second: "bss", page: 2)) {
            try problem([PageClass(name: "bss", ranges: [0..<3, 2..<4])])
        }
    }

    @Test(arguments: [15..<17, 16..<17, -1..<1])
    func pinOutside(pages: Range<Int>) {
        #expect(throws: ProblemError.pinOutside(pages: pages, pageCount: 16)) { try problem([text], pins: [pages]) }
    }

    /// Over the end of a class, over two classes, in no class, outside the image, larger than its class, empty.
    static let badGlue: [(Range<Int>, Int)] = [
        (4..<8, 6), (5..<9, 6), (6..<8, 6), (14..<17, 14), (-1..<3, -1), (0..<12, 6), (2..<2, 2),
    ]

    @Test(arguments: badGlue)
    func glueLeavesClass(pages: Range<Int>, page: Int) {
        #expect(throws: ProblemError.glueLeavesClass(pages: pages, page: page)) {
            try problem([text, data], glue: [pages])
        }
    }

    @Test func messagesNameTheCulprit() {
        let overlap = ProblemError.classesOverlap(first: "text", second: "bss", page: 5)
        #expect(overlap.description == "page 5 is in class text and in bss")
        #expect(ProblemError.pinOutside(pages: 1..<99, pageCount: 16).description.contains("1..<99"))
        #expect(ProblemError.classOutside(name: "bss", pages: 1..<99, pageCount: 16).description.contains("bss"))
        #expect(ProblemError.glueLeavesClass(pages: 4..<8, page: 6).description.contains("page 6"))
    }

    @Test func pinsTakeTheirPages() throws {
        #expect(try problem([text, data]).movablePages(inClass: 0) == 6)
        #expect(try problem([text, data], pins: [1..<3, 2..<9]).movablePages(inClass: 0) == 1)
        #expect(try problem([text, data], pins: [1..<3, 2..<9]).movablePages(inClass: 1) == 7)
    }

    /// Text ends inside a granule and data begins on one.
    @Test func onlyWholeGranulesMove() throws {
        let whole = try problem([text, data], granule: .page16K)
        #expect(whole.movablePages(inClass: 0) == 4)
        #expect(whole.movablePages(inClass: 1) == 8)
        #expect(try problem([text, data], pins: [9..<10], granule: .page16K).movablePages(inClass: 1) == 4)
        #expect(try problem([text, data], granule: .page64K).movablePages(inClass: 1) == 0)
    }

    /// A run over a pin stays; so does one that a staying run overlaps, but not one that it touches.
    @Test func aRunStaysAsAWhole() throws {
        let stays = try problem([data], pins: [9..<10], glue: [8..<11, 10..<12, 12..<14])
        #expect(stays.movablePages(inClass: 0) == 4)
        #expect(try problem([data], glue: [8..<16]).movablePages(inClass: 0) == 8)
    }

    @Test(arguments: zip(Granule.allCases, [4, 16, 64, 2048]))
    func granules(granule: Granule, kibibytes: Int) {
        #expect(granule.pages * 4 == kibibytes)
        #expect(Granule(rawValue: granule.rawValue) == granule)
    }
}
