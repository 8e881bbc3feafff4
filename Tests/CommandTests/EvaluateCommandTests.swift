// SPDX-License-Identifier: MIT

// What `kperm evaluate` refuses, and what it finds fault with.

import Foundation
import Testing

struct EvaluateCommandTests {
    @Test(arguments: [
        ("sample no_such_symbol", "no_such_symbol"),
        ("sample 0x1000", "0x1000: 0x1000 lies outside the image"),
        ("sample --leaks 1,x", "--leaks"),
        ("sample --leaks 5000", "--leaks 5000: no class has more than"),
        ("sample --memory 1", "--memory: 64 to 16777216 MiB"),
        ("sample --table text", "text: no translation table"),
        ("permuted-segments --granule 16K", "already permuted, by its own demands"),
        ("sample --seed 00", "--seed is for --play"),
        ("sample --pin _text.._end --play", "sample: --play: no class with exact figures has pages"),
        ("randomness --pages 3", "--pages: 4 to 1048576"),
        ("randomness --from missing", "missing: cannot open"),
        ("randomness --from text --pages 64", "text: ends inside the order of 64 pages at byte 0"),
        ("randomness --from sample --pages 4", "sample: the 16 bytes from 0 on are no order of 4 pages"),
    ])
    func refuses(words: String, message: String) async throws {
        let place = try await Workplace(["sample", "permuted-segments", "text"])
        let outcome = try await place.kperm(["evaluate"] + words.split(separator: " ").map(String.init))
        #expect(outcome.status == 2)
        #expect(outcome.output.isEmpty)
        #expect(outcome.error.contains(message), "\(outcome.error)")
        #expect(outcome.error.count { $0 == "\n" } == 1)
    }

    @Test func playsAgreeingFigures() async throws {
        let place = try await Workplace(["sample"])
        let outcome = try await place.kperm(["evaluate", "sample", "--play", "--gadgets", "--json"])
        #expect(outcome.status == 0, "\(outcome.error)")
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
        #expect((report["played"] as? [Any])?.isEmpty == false)
        #expect(((report["gadgets"] as? [String: Any])?["gadgets"] as? Int ?? 0) > 0)
    }

    /// Orders that are all the same pass no test.
    @Test func findsFaultWithAWrongGenerator() async throws {
        let place = try await Workplace(["sample"])
        let order: [UInt8] = [0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0]
        let orders = Data([[UInt8]](repeating: order, count: 2000).joined())
        try orders.write(to: URL(fileURLWithPath: "\(place.path)/orders"))
        let outcome = try await place.kperm(["evaluate", "randomness", "--from", "orders", "--pages", "4"])
        #expect(outcome.status == 1)
        #expect(outcome.output.contains("FAIL  all orders of 4 pages"))
    }
}
