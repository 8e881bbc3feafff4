// SPDX-License-Identifier: MIT

// Random tests draw everything from one number. A failure prints it; setting
// KPERM_TEST_SEED to it runs the same tests again.

import Glibc
public import Testing

/// SplitMix64: small, and good enough to think up test cases.
public struct TestRandom: RandomNumberGenerator {
    public static let runSeed: UInt64 = {
        guard let text = unsafe getenv("KPERM_TEST_SEED") else { return UInt64.random(in: .min ... .max) }
        guard let seed = unsafe UInt64(String(cString: text)) else { fatalError("KPERM_TEST_SEED is not a number") }
        return seed
    }()

    private var state = runSeed

    public init() {}

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    /// What to print beside a failure.
    public static func comment(_ what: @autoclosure () -> String = "") -> Comment {
        Comment(rawValue: "KPERM_TEST_SEED=\(runSeed) \(what())")
    }
}
