// SPDX-License-Identifier: MIT

// The form of what kperm bench prints, with every number masked, and what it
// refuses. How long anything takes is the machine's business.

import Addressing
import Foundation
import PagePermutation
import SecureRandom
import Testing
import TranslationSimulator

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
        #expect((report["strategies"] as? [Any])?.count == 17 && (report["lookups"] as? [Any])?.count == 17 * 3 * 4)
        let orders = try #require(report["orders"] as? [[String: Any]])
        #expect(orders.count == 17 && orders.allSatisfy { $0["dependence"] is String && $0["cacheLines"] != nil })
        #expect((report["ordersOf"] as? String)?.hasPrefix("10 orders drawn alike") == true)
        #expect((report["checks"] as? [[String: Any]])?.allSatisfy { $0["holds"] is Bool } == true)
        let mappings = try #require(report["mappings"] as? [Any])
        #expect(mappings.count == 12 || (report["largePages"] as? String)?.hasPrefix("none: ") == true)
    }

    private struct Report: Decodable {
        struct Lookup: Decodable { let pattern: String }
        let pages: Int
        let trace: String?
        let ordersOf: String
        let orders: [Order]
        struct Order: Decodable { let strategy: String }
        let lookups: [Lookup]
    }

    private func report(_ place: Workplace, _ options: String...) async throws -> Report {
        let outcome = try await place.kperm(["bench", "--quick", "--json"] + options)
        try #require(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
        return try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
    }

    private func traced(_ place: Workplace, pages: Int, within: UInt64 = 0, image: Int = 50) throws {
        let base = VirtualAddress(0xffff_ffff_9240_0000 + within)
        var writer = try TraceWriter(
            place["trace"], TraceHeader(virtualBase: base, imageBytes: UInt64(image * pageSize), workload: "sweep"))
        for page in 0..<UInt64(pages) { try writer.fetch(base + page << 12, instructions: 1) }
        try writer.finish()
    }

    /// A sample of a real kernel's trace, in the repository.
    @Test func replaysASample() async throws {
        let place = try Workplace()
        let found = try await report(place, "--trace", "\(checkout)/Tests/Fixtures/traces/pipe.kpt", "--orders", "0")
        #expect(found.pages > 10_000 && found.trace?.hasSuffix("pipe.kpt") == true)
        #expect(Set(found.lookups.map(\.pattern)) == ["hot", "uniform", "zipf", "replayed"])
        #expect(found.orders.isEmpty && found.ordersOf.hasPrefix("one order"))
    }

    @Test func replaysInAFilesTable() async throws {
        let place = try Workplace()
        let table = TranslationTable(
            try Permutation.draw(
                PermutationProblem(pageCount: 50, classes: [PageClass(name: "all", ranges: [0..<50])]),
                seed: Seed.parse(hexadecimal: String(repeating: "1", count: 64))),
            virtualBase: VirtualAddress(0xffff_ffff_8100_0000), physicalBase: PhysicalAddress(0x100_0000))
        try place.write(table.bytes, to: "table")
        try traced(place, pages: 50)
        let found = try await report(place, "table", "--trace", "trace")
        #expect(found.pages == 50 && Set(found.lookups.map(\.pattern)).contains("replayed"))
        #expect(found.orders.isEmpty && found.ordersOf.hasPrefix("one order, the file's"))

        let words = ["bench", "table", "--trace", "trace"]
        try traced(place, pages: 50, image: 51)
        #expect(
            try await refused(place, words)
                == "trace: at byte 24 of the uncompressed trace: its image has 51 pages, and the table in table has 50: "
                + "recorded from another kernel")
        try traced(place, pages: 50, within: 0x1000)
        #expect(
            try await refused(place, words).hasPrefix(
                "trace: at byte 16 of the uncompressed trace: its image is at 0xffffffff92401000, and the table in table"
            ))
        #expect(
            try await refused(place, ["bench", "--trace", "trace", "--pages", "49"])
                == "trace: at byte 24 of the uncompressed trace: its image has 50 pages, and --pages asks for 49: leave "
                + "--pages out")
        try traced(place, pages: 0)
        #expect(try await refused(place, words).contains("ends without a reference to the image: nothing to replay"))
        try traced(place, pages: 50)
        var bytes = try place.bytes("trace")
        bytes.removeLast(9)
        try place.write(bytes, to: "trace")
        let truncated = try await refused(place, words)
        #expect(truncated.hasPrefix("trace: at byte ") && truncated.contains("truncated"))
    }

    @Test(arguments: [
        ("bench nowhere", "nowhere: cannot open: No such file or directory"),
        ("bench text", "text: at byte 0x0: not an ELF file"),
        ("bench --seed 12", "--seed: a seed is 32 bytes, 64 hexadecimal digits; this one has 2"),
        ("bench --pages 0", "--pages takes a number from 1 to 262144 (--help explains)"),
        ("bench --pages 262145", "--pages takes a number from 1 to 262144 (--help explains)"),
        ("bench --trace nowhere", "nowhere: cannot open: No such file or directory"),
        ("bench --trace text", "text: not a trace: it begins neither with kpermtrc nor like a zstd frame"),
        ("bench --orders 1", "--orders takes 0, or a number from 2 to 1000 (--help explains)"),
        ("bench text --orders 5", "OUT has one order: leave --orders out (--help explains)"),
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
