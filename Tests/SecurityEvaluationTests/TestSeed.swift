// SPDX-License-Identifier: MIT

import SecureRandom
import TestSupport

extension Seed {
    /// Drawn from the number that a failing test prints.
    static func forTest() throws -> Seed {
        var random = TestRandom()
        let words = (0..<4).map { _ in
            let word = String(random.next(), radix: 16)
            return String(repeating: "0", count: 16 - word.count) + word
        }
        return try Seed.parse(hexadecimal: words.joined())
    }
}
