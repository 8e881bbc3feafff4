// SPDX-License-Identifier: MIT

// Known permutations: what algorithm 1 draws, on every machine and for ever.
// They do not come from the code under test: Tests/Fixtures/
// algorithm1-vectors.py draws them a second time from the description alone.
// They may change only together with `Permutation.algorithm`.

import PagePermutation
import SecureRandom
import Testing

/// The seeds of the known vectors.
enum TestSeed: String, CaseIterable, Sendable {
    /// 31 zero bytes and a 1.
    case one = "0000000000000000000000000000000000000000000000000000000000000001"
    /// The bytes 0, 1 … 31.
    case counting = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    /// 32 bytes of 255.
    case ones = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

    func seed() throws -> Seed { try Seed.parse(hexadecimal: rawValue) }

    func stream(_ domain: String) throws -> RandomStream {
        let seed = try seed()
        return try RandomStream(seed: seed, domain: domain)
    }

    func draw(_ problem: PermutationProblem) throws -> Permutation {
        let seed = try seed()
        return try Permutation.draw(problem, seed: seed)
    }
}

struct DrawingVectorTests {
    @Test func numberOfTheAlgorithm() { #expect(Permutation.algorithm == 1) }

    private func check(_ problem: PermutationProblem, _ expected: [TestSeed: [UInt32]]) throws {
        for (seed, forward) in expected {
            #expect(try seed.draw(problem).forward == forward, "seed \(seed)")
        }
    }

    @Test func oneClass() throws {
        let problem = try PermutationProblem(
            pageCount: 16,
            classes: [
                PageClass(name: "text", ranges: [0..<16])
            ])
        try check(
            problem,
            [
                .one: [9, 13, 15, 5, 4, 10, 1, 3, 7, 8, 14, 6, 2, 11, 12, 0],
                .counting: [4, 2, 3, 5, 0, 9, 10, 15, 12, 13, 11, 1, 8, 7, 14, 6],
                .ones: [8, 0, 11, 13, 4, 6, 3, 9, 12, 2, 1, 14, 10, 5, 15, 7],
            ])
    }

    @Test func twoClasses() throws {
        let problem = try PermutationProblem(
            pageCount: 24,
            classes: [
                PageClass(name: "text", ranges: [0..<10]),
                PageClass(name: "data", ranges: [12..<22]),
            ])
        try check(
            problem,
            [
                .one: [5, 4, 1, 2, 7, 6, 9, 3, 0, 8, 10, 11, 18, 21, 16, 19, 13, 20, 17, 15, 14, 12, 22, 23],
                .counting: [8, 4, 2, 3, 9, 6, 7, 1, 5, 0, 10, 11, 21, 16, 20, 18, 17, 13, 12, 14, 15, 19, 22, 23],
                .ones: [3, 0, 5, 2, 6, 1, 8, 9, 4, 7, 10, 11, 16, 19, 12, 14, 15, 17, 21, 13, 18, 20, 22, 23],
            ])
    }

    @Test func holesAndPins() throws {
        let problem = try PermutationProblem(
            pageCount: 20,
            classes: [
                PageClass(name: "text", ranges: [0..<5, 8..<12]),
                PageClass(name: "data", ranges: [5..<8, 14..<20]),
            ],
            pins: [1..<3, 12..<15].map { Pin(pages: $0, reason: "test", evidence: "test") })
        try check(
            problem,
            [
                .one: [9, 1, 2, 4, 11, 5, 17, 15, 3, 10, 8, 0, 12, 13, 14, 16, 19, 6, 7, 18],
                .counting: [4, 1, 2, 11, 8, 6, 18, 5, 9, 3, 10, 0, 12, 13, 14, 16, 15, 7, 19, 17],
                .ones: [10, 1, 2, 4, 3, 17, 7, 16, 11, 0, 9, 8, 12, 13, 14, 15, 19, 18, 6, 5],
            ])
    }

    /// Four runs, two of which touch; a pinned page and a hole in their way.
    @Test func glue() throws {
        let problem = try PermutationProblem(
            pageCount: 24,
            classes: [
                PageClass(name: "data", ranges: [0..<8, 10..<24])
            ],
            pins: [20..<21].map { Pin(pages: $0, reason: "test", evidence: "test") },
            glue: [2..<5, 11..<13, 12..<15, 15..<17].map { Glue(pages: $0, reason: "test") })
        try check(
            problem,
            [
                .one: [3, 19, 5, 6, 7, 23, 18, 10, 8, 9, 2, 11, 12, 13, 14, 16, 17, 4, 0, 22, 20, 1, 15, 21],
                .counting: [13, 12, 21, 22, 23, 7, 15, 17, 8, 9, 10, 1, 2, 3, 4, 18, 19, 11, 6, 0, 20, 5, 14, 16],
                .ones: [14, 19, 16, 17, 18, 15, 22, 6, 8, 9, 4, 0, 1, 2, 3, 10, 11, 21, 5, 12, 20, 7, 23, 13],
            ])
    }

    /// Runs that leave each other no room at first: the stream goes on over two beginnings.
    @Test func glueBeginningAgain() throws {
        let problem = try PermutationProblem(
            pageCount: 14,
            classes: [
                PageClass(name: "data", ranges: [0..<14])
            ],
            glue: [0..<4, 4..<8, 9..<13].map { Glue(pages: $0, reason: "test") })
        try check(
            problem,
            [
                .one: [10, 11, 12, 13, 2, 3, 4, 5, 0, 6, 7, 8, 9, 1],
                .counting: [10, 11, 12, 13, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
                .ones: [0, 1, 2, 3, 10, 11, 12, 13, 4, 6, 7, 8, 9, 5],
            ])
    }

    /// Nine runs that fill their island exactly: of two seeds none of 64 beginnings places them all, and
    /// they stay; the third places them at its eleventh.
    @Test func glueStaying() throws {
        let problem = try PermutationProblem(
            pageCount: 42,
            classes: [
                PageClass(name: "data", ranges: [0..<36, 37..<38, 39..<42])
            ],
            glue: stride(from: 0, to: 36, by: 4).map { $0..<$0 + 4 }.map { Glue(pages: $0, reason: "test") })
        try check(
            problem,
            [
                .one: [
                    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
                    24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 40, 38, 41, 37, 39,
                ],
                .counting: [
                    4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31, 24, 25, 26, 27, 32, 33, 34, 35,
                    16, 17, 18, 19, 0, 1, 2, 3, 8, 9, 10, 11, 36, 40, 38, 39, 41, 37,
                ],
                .ones: [
                    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
                    24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 38, 41, 37, 40,
                ],
            ])
    }

    /// A run with a pinned page stays as a whole.
    @Test func glueOverAPin() throws {
        let problem = try PermutationProblem(
            pageCount: 12,
            classes: [
                PageClass(name: "data", ranges: [0..<12])
            ],
            pins: [3..<4].map { Pin(pages: $0, reason: "test", evidence: "test") },
            glue: [2..<6].map { Glue(pages: $0, reason: "test") })
        try check(
            problem,
            [
                .one: [0, 9, 2, 3, 4, 5, 7, 8, 11, 1, 6, 10],
                .counting: [1, 10, 2, 3, 4, 5, 0, 8, 7, 6, 11, 9],
                .ones: [9, 6, 2, 3, 4, 5, 8, 7, 11, 10, 1, 0],
            ])
    }

    /// A class border, a pin and a run inside granules, and a last granule that is not whole.
    @Test func granule16K() throws {
        let problem = try PermutationProblem(
            pageCount: 50,
            classes: [
                PageClass(name: "text", ranges: [0..<18]),
                PageClass(name: "data", ranges: [18..<50]),
            ],
            pins: [25..<26].map { Pin(pages: $0, reason: "test", evidence: "test") },
            glue: [31..<34].map { Glue(pages: $0, reason: "test") },
            granule: .page16K)
        try check(
            problem,
            [
                .one: [
                    8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15, 0, 1, 2, 3, 16, 17, 18, 19, 20, 21, 22, 23,
                    24, 25, 26, 27, 36, 37, 38, 39, 40, 41, 42, 43, 32, 33, 34, 35, 28, 29, 30, 31, 44, 45, 46, 47,
                    48, 49,
                ],
                .counting: [
                    0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 16, 17, 18, 19, 28, 29, 30, 31,
                    24, 25, 26, 27, 32, 33, 34, 35, 36, 37, 38, 39, 20, 21, 22, 23, 40, 41, 42, 43, 44, 45, 46, 47,
                    48, 49,
                ],
                .ones: [
                    0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19, 44, 45, 46, 47,
                    24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 40, 41, 42, 43, 36, 37, 38, 39, 20, 21, 22, 23,
                    48, 49,
                ],
            ])
    }

    /// Ten thousand pages, where counters, blocks and rejections have room to go wrong.
    static let largeOrders: [(TestSeed, first: [UInt32], last: [UInt32], fnv1a: UInt64)] = [
        (
            TestSeed.one, [2212, 8486, 2761, 6983, 9843, 3522], [8243, 7686, 1822, 6023, 8469, 3568],
            0x8a75_7808_ea23_994d
        ),
        (
            TestSeed.counting, [5283, 3705, 2795, 4377, 9101, 3718], [8630, 3853, 7197, 3221, 8024, 310],
            0xd512_18c9_eb21_22e9
        ),
        (
            TestSeed.ones, [1631, 1493, 5257, 3772, 2942, 3597], [1729, 3067, 3767, 1197, 5215, 487],
            0xa8f4_c505_b30e_fbc1
        ),
    ]

    @Test(arguments: largeOrders)
    func tenThousandPages(seed: TestSeed, first: [UInt32], last: [UInt32], fnv1a: UInt64) throws {
        let problem = try PermutationProblem(
            pageCount: 10_000, classes: [PageClass(name: "text", ranges: [0..<10_000])])
        let forward = try seed.draw(problem).forward
        #expect(Array(forward.prefix(6)) == first)
        #expect(Array(forward.suffix(6)) == last)
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for frame in forward {
            for shift in stride(from: UInt32(0), to: 32, by: 8) {
                hash = (hash ^ UInt64(frame >> shift & 0xff)) &* 0x100_0000_01b3
            }
        }
        #expect(hash == fnv1a)
    }
}
