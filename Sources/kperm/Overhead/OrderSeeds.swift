// SPDX-License-Identifier: MIT

// The seeds of the orders that a report is made from. They are printed with it, so
// that it can be repeated, and protect nothing.

import SecureRandom

/// Seeds derived from one.
struct OrderSeeds {
    /// In hexadecimal digits, one an order.
    let all: [String]

    init(root: String, count: Int) throws {
        do {
            let root = try Seed.parse(hexadecimal: root)
            var stream = try RandomStream(seed: root, domain: "kperm/report/overhead")
            var all: [String] = []
            for _ in 0..<count {
                var digits = ""
                for _ in 0..<Seed.byteCount / 4 {
                    let word = String(stream.next(), radix: 16)
                    digits += String(repeating: "0", count: 8 - word.count) + word
                }
                all.append(digits)
            }
            self.all = all
        } catch {
            throw CommandFailure.input("--seed: \(error)")
        }
    }

    func seed(_ order: Int) throws -> Seed {
        do { return try Seed.parse(hexadecimal: all[order]) } catch { throw CommandFailure.input("--seed: \(error)") }
    }
}
