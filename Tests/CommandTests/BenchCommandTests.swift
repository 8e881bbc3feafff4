// SPDX-License-Identifier: MIT

// The form of what kperm bench prints, with every number masked, and what it
// refuses. How long anything takes is the machine's business.

import Foundation
import Testing

struct BenchCommandTests {
    /// Numbers and verdicts as placeholders, spaces between columns as one; what there is of large pages, left out.
    private func masked(_ output: String) -> String {
        output.replacing(/large pages: .*?\n\nratio/.dotMatchesNewlines(), with: "large pages: …\n\nratio")
            .replacing(/processor: .*/, with: "processor: …")
            .replacing(/\b[0-9]+(\.[0-9]+)?(?=[ ,\n])/, with: "N").replacing(#/ +/#, with: " ")
            .replacing(/(holds|MISSED)/, with: "holds or not")
    }

    @Test func form() async throws {
        let place = try await Workplace("permuted-segments")
        let outcome = try await place.kperm("bench", "permuted-segments", "--quick")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        let golden = "\(checkout)/Tests/Fixtures/commands/bench.txt"
        if ProcessInfo.processInfo.environment["KPERM_UPDATE_GOLDEN"] != nil {
            try Data(masked(outcome.output).utf8).write(to: URL(fileURLWithPath: golden))
        }
        let expected = String(decoding: try Data(contentsOf: URL(fileURLWithPath: golden)), as: UTF8.self)
        #expect(masked(outcome.output) == expected)
    }

    @Test func json() async throws {
        let place = try Workplace()
        let outcome = try await place.kperm("bench", "--pages", "100", "--granule", "64K", "--quick", "--json")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        let parsed = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
        let report = try #require(parsed as? [String: Any])
        #expect(report["pages"] as? Int == 100 && report["file"] == nil)
        #expect((report["strategies"] as? [Any])?.count == 15 && (report["lookups"] as? [Any])?.count == 15 * 3 * 4)
        #expect((report["checks"] as? [[String: Any]])?.allSatisfy { $0["holds"] is Bool } == true)
        let mappings = try #require(report["mappings"] as? [Any])
        #expect(mappings.count == 12 || (report["largePages"] as? String)?.hasPrefix("none: ") == true)
    }

    @Test(arguments: [
        ("bench nowhere", "nowhere: cannot open: No such file or directory"),
        ("bench text", "text: at byte 0x0: not an ELF file"),
        ("bench --seed 12", "--seed: a seed is 32 bytes, 64 hexadecimal digits; this one has 2"),
        ("bench --pages 0", "--pages takes a number from 1 to 262144 (--help explains)"),
        ("bench --pages 262145", "--pages takes a number from 1 to 262144 (--help explains)"),
        (
            "bench text --granule 4K",
            "give OUT, or what to draw with --pages and --granule, not both (--help explains)"
        ),
    ])
    func refusals(words: String, message: String) async throws {
        let place = try await Workplace("text")
        #expect(try await refused(place, words.split(separator: " ").map(String.init)) == message)
    }
}
