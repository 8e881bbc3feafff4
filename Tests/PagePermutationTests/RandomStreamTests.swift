// SPDX-License-Identifier: MIT

// Known streams. They do not come from the code under test: Tests/Fixtures/
// algorithm1-vectors.py computes them with a ChaCha20 of its own (checked there
// against RFC 8439) and Python's BLAKE2b, from the description of algorithm 1.
// They may change only together with the algorithm's number.

import SecureRandom
import Testing

struct RandomStreamTests {
    /// A stream of the domain "kperm/1/text": its first eight words, those around the end of its
    /// first block of 4096 bytes (words 1022 to 1025), and word 4999.
    struct Words: Sendable {
        let seed: TestSeed
        let first: [UInt32]
        let around: [UInt32]
        let late: UInt32
    }

    static let words = [
        Words(
            seed: .one,
            first: [
                0x220c_7c30, 0xd45a_1027, 0xe381_eb93, 0x97fd_18f1,
                0xcab9_3a32, 0xc08b_6a92, 0xb174_04f6, 0x9428_a0f4,
            ],
            around: [0x93a0_4df3, 0x25ab_ac57, 0xf2e5_e970, 0x12b3_748c],
            late: 0x5ca5_d18b),
        Words(
            seed: .counting,
            first: [
                0x2f19_58e6, 0x1aef_a47d, 0x14b2_5de1, 0x470f_0fe1,
                0x3c96_35ad, 0xbe37_8f34, 0x39e2_5383, 0xaebf_f36c,
            ],
            around: [0xaee4_3fd3, 0xcef5_b7a8, 0xf225_e25d, 0x5e0d_fbaf],
            late: 0xe3b0_faee),
        Words(
            seed: .ones,
            first: [
                0x0a87_a007, 0x1663_2a54, 0xcd4d_b61f, 0xc1c9_3197,
                0xb80b_97ab, 0xa884_ad3d, 0xd48f_4c42, 0x1e9d_e346,
            ],
            around: [0xcf29_4cb0, 0xe004_83d8, 0x3794_39e0, 0x546c_f1ce],
            late: 0xe861_5092),
    ]

    @Test(arguments: words)
    func knownWords(expected: Words) throws {
        var stream = try expected.seed.stream("kperm/1/text")
        var words: [UInt32] = []
        for _ in 0..<5000 { words.append(stream.next()) }
        #expect(Array(words.prefix(8)) == expected.first)
        #expect(Array(words[1022..<1026]) == expected.around)
        #expect(words[4999] == expected.late)
    }

    /// Eight numbers below a bound, from the domain "below " + bound. Below 2^31 + 1 nearly every
    /// second word is rejected.
    struct Uniform: Sendable {
        let seed: TestSeed
        let bound: UInt32
        let numbers: [UInt32]
    }

    static let uniform = [
        Uniform(seed: .one, bound: 1, numbers: [0, 0, 0, 0, 0, 0, 0, 0]),
        Uniform(seed: .one, bound: 2, numbers: [1, 1, 0, 1, 0, 0, 0, 0]),
        Uniform(seed: .one, bound: 3, numbers: [0, 2, 1, 2, 2, 2, 0, 0]),
        Uniform(seed: .one, bound: 6, numbers: [1, 1, 0, 4, 0, 0, 1, 5]),
        Uniform(seed: .one, bound: 1000, numbers: [539, 585, 236, 510, 826, 428, 791, 219]),
        Uniform(
            seed: .one, bound: 2_147_483_649,
            numbers: [
                1_990_390_727, 100_532_034, 879_998_790, 587_091_569,
                1_170_660_145, 1_838_816_310, 273_191_476, 582_242_828,
            ]),
        Uniform(
            seed: .one, bound: 4_294_967_295,
            numbers: [
                4_199_609_093, 1_625_437_296, 1_211_100_225, 3_698_399_502,
                970_395_647, 4_267_045_601, 2_539_253_190, 2_298_144_579,
            ]),
        Uniform(seed: .counting, bound: 1, numbers: [0, 0, 0, 0, 0, 0, 0, 0]),
        Uniform(seed: .counting, bound: 2, numbers: [1, 1, 1, 1, 1, 0, 0, 1]),
        Uniform(seed: .counting, bound: 3, numbers: [1, 2, 0, 0, 1, 2, 0, 1]),
        Uniform(seed: .counting, bound: 6, numbers: [2, 1, 3, 4, 5, 5, 2, 1]),
        Uniform(seed: .counting, bound: 1000, numbers: [109, 100, 525, 695, 950, 69, 948, 362]),
        Uniform(
            seed: .counting, bound: 2_147_483_649,
            numbers: [
                1_448_143_709, 2_417_230, 1_573_726_255, 1_506_791_200,
                1_803_936_944, 976_767_018, 7_701_805, 1_994_989_730,
            ]),
        Uniform(
            seed: .counting, bound: 4_294_967_295,
            numbers: [
                1_363_755_407, 1_549_804_996, 1_162_374_450, 858_269_065,
                412_617_254, 407_115_806, 2_164_746_981, 589_841_277,
            ]),
    ]

    @Test(arguments: uniform)
    func knownNumbers(expected: Uniform) throws {
        var stream = try expected.seed.stream("below \(expected.bound)")
        var numbers: [UInt32] = []
        for _ in 0..<8 { numbers.append(stream.uniform(below: expected.bound)) }
        #expect(numbers == expected.numbers)
    }

    @Test func domainsGiveOtherStreams() throws {
        var first: Set<UInt32> = []
        for domain in ["", "kperm/1/text", "kperm/1/texu", "kperm/2/text", "kperm/1/text\u{0}"] {
            var stream = try TestSeed.one.stream(domain)
            first.insert(stream.next())
        }
        #expect(first.count == 5)
    }

    /// No word is of more weight than another: 60,000 throws of a die, 5 degrees of freedom.
    @Test func diceAreFair() throws {
        var stream = try TestSeed.counting.stream("dice")
        var counts = [Int](repeating: 0, count: 6)
        for _ in 0..<60_000 { counts[Int(stream.uniform(below: 6))] += 1 }
        #expect(chiSquare(counts) < 35)  // exceeded by chance once in 600,000 streams
    }
}
