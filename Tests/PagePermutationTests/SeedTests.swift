// SPDX-License-Identifier: MIT

// What is a seed and what is not. A seed cannot be printed or compared, so two
// seeds are the same when the same numbers come from them.

import SecureRandom
import Testing

struct SeedTests {
    private static let counting = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

    private func words(_ text: String) throws -> [UInt32] {
        let seed = try Seed.parse(hexadecimal: text)
        return try words(seed)
    }

    private func words(_ seed: borrowing Seed) throws -> [UInt32] {
        var stream = try RandomStream(seed: seed, domain: "test")
        return (0..<8).map { _ in stream.next() }
    }

    @Test func sameTextSameSeed() throws {
        #expect(try words(Self.counting) == words(Self.counting))
        #expect(try words(Self.counting) != words(seedText(1)))
    }

    @Test(arguments: ["\(counting)\n", "  \(counting)", "\t\(counting)\r\n\n", counting.uppercased()])
    func spaceAtTheEndsAndCaseMeanNothing(text: String) throws {
        #expect(try words(text) == words(Self.counting))
    }

    @Test(arguments: 0..<64)
    func everyDigitCounts(position: Int) throws {
        var digits = Array(Self.counting)
        digits[position] = digits[position] == "0" ? "1" : "0"
        #expect(try words(String(digits)) != words(Self.counting))
    }

    static let wrongLengths: [(String, Int)] = [
        ("", 0), (" \n", 0), ("0", 1), ("01", 2), (String(counting.dropLast()), 63), (counting + "0", 65),
        ("0x" + counting, 66), (counting + counting, 128),
    ]

    @Test(arguments: wrongLengths)
    func wrongLength(text: String, digits: Int) {
        #expect(throws: SeedError.length(digits: digits)) { try words(text) }
    }

    @Test(arguments: ["g", "x", " ", "-", "\u{0}", ":"], [0, 31, 63])
    func notHexadecimal(character: Character, position: Int) {
        var digits = Array(Self.counting)
        digits[position] = character
        let text = String(digits)
        let isTrimmed = (character == " " || character == "\u{0}") && position % 63 == 0
        let expected = isTrimmed ? SeedError.length(digits: 63) : .notHexadecimal
        #expect(throws: expected) { try words(text) }
    }

    /// A digit for Unicode is not a digit for a seed.
    @Test func fullWidthDigits() {
        #expect(throws: SeedError.length(digits: 66)) { try words("\u{ff10}" + Self.counting.dropFirst()) }
    }

    @Test func freshSeedsDiffer() throws {
        let first = try Seed.random()
        let second = try Seed.random()
        #expect(try words(first) != words(second))
    }

    @Test func messagesSayWhatIsWanted() {
        #expect(SeedError.length(digits: 3).description.contains("64 hexadecimal digits; this one has 3"))
        #expect(SeedError.notHexadecimal.description.contains("hexadecimal"))
    }
}
