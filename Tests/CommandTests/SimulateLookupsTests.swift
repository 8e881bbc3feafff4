// SPDX-License-Identifier: MIT

// kperm simulate lookups on the counts that lie beside the sample traces, and on
// made-up ones with the record of an audit; and what it refuses.

import Foundation
import TestSupport
import Testing

struct SimulateLookupsTests {
    private struct Report: Decodable {
        struct Rate: Decodable {
            let executions: Int
            let perSystemCall: Double?
            let perSecond: Double
        }
        struct Kind: Decodable {
            let translates: String
            let places: Int
            let rate: Rate
        }
        struct Place: Decodable {
            let place: String
            let rate: Rate
            let objects: [String]?
        }
        let seconds: Double
        let kinds: [Kind]
        let places: [Place]
    }

    private func report(_ place: Workplace, _ words: String...) async throws -> Report {
        let outcome = try await place.kperm(["simulate", "lookups", "--json"] + words)
        try #require(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
        return try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
    }

    private static let counts = #"""
        {"workload": "w", "release": "6.1", "buildID": "00", "kernelInstructions": 1500, "userInstructions": 500,
         "instructionsPerSecond": 1000, "systemCalls": 4, "cr3Writes": 1, "sites": [
         {"address": "0xf1", "place": "f+0x1", "translates": "image", "executions": 10},
         {"address": "0xf2", "place": "f+0x2", "translates": "linear", "executions": 100},
         {"address": "0xf3", "place": "g+0x3", "translates": "image", "executions": 6}]}
        """#

    private static let audit = #"""
        {"boot": {}, "translations": {"observed": 3, "entries": [
         {"sites": ["f+0x1", "h+0x1"], "object": "init_top_pgt", "count": 3, "end": "pinned"},
         {"sites": ["f+0x1"], "object": "a_page", "count": 1, "end": "pinned"}]}}
        """#

    /// 2,000 instructions at 1,000 a second are two seconds.
    @Test func rates() async throws {
        let place = try Workplace()
        try place.write(Array(Self.counts.utf8), to: "c")
        try place.write(Array(Self.audit.utf8), to: "a")
        let found = try await report(place, "c", "--audit", "a")
        #expect(found.seconds == 2 && found.kinds.map(\.translates).prefix(2) == ["image", "linear"])
        #expect(found.kinds[0].places == 2 && found.kinds[0].rate.executions == 16)
        #expect(found.kinds[0].rate.perSystemCall == 4 && found.kinds[0].rate.perSecond == 8)
        #expect(found.places.map(\.place) == ["f+0x2", "f+0x1", "g+0x3"])
        #expect(found.places.map(\.objects) == [[], ["a_page", "init_top_pgt"], []])
        #expect(try await report(place, "c").places.allSatisfy { $0.objects == nil })
        let text = try await place.kperm("simulate", "lookups", "c", "--audit", "a", "--places", "2").output
        #expect(
            text.contains("\n  f+0x1     image      10          2.500       5.0  a_page, init_top_pgt\n"), "\(text)")
        #expect(text.hasSuffix("\n  and 1 places more (--places)\n"))
    }

    /// The samples' own sums are those of their places.
    @Test(arguments: ["boot", "compile", "file", "fork", "network", "pipe"])
    func samples(name: String) async throws {
        struct Sums: Decodable {
            let image: Int
            let linear: Int
            let imagePerSystemCall: Double
            let linearPerSecond: Double
        }
        let path = "\(checkout)/Tests/Fixtures/traces/\(name).json"
        let sums = try JSONDecoder().decode(Sums.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        let kinds = try await report(Workplace(), path).kinds
        #expect(kinds[0].rate.executions == sums.image && kinds[1].rate.executions == sums.linear)
        #expect(abs((kinds[0].rate.perSystemCall ?? -1) - sums.imagePerSystemCall) < 0.001)
        #expect(abs(kinds[1].rate.perSecond - sums.linearPerSecond) <= 1)
    }

    @Test(arguments: [
        ("\"systemCalls\": 4, ", "", "c: systemCalls: missing"),
        ("\"systemCalls\": 4", "\"systemCalls\": -4", "c: systemCalls: -4 is not from 0 to 2^56"),
        ("\"systemCalls\": 4", "\"systemCalls\": \"4\"", "c: systemCalls: not a whole number"),
        ("\"executions\": 100", "\"executions\": -1", "c: sites[1].executions: -1 executions cannot be"),
        ("\"linear\"", "\"virtual\"", "c: sites[1].translates: none of what there may be here"),
        (
            "\"instructionsPerSecond\": 1000", "\"instructionsPerSecond\": 0",
            "c: kernelInstructions: nothing was executed"
        ),
        ("\"sites\": [", "\"sites\": ", "c: not JSON"),
    ])
    func refusals(old: String, new: String, message: String) async throws {
        let place = try Workplace()
        try place.write(Array(Self.counts.replacing(old, with: new).utf8), to: "c")
        #expect(try await refused(place, ["simulate", "lookups", "c"]) == message)
        try place.write(Array(Self.counts.utf8), to: "c")
        try place.write(Array("{\"boot\": {}}".utf8), to: "a")
        #expect(try await refused(place, ["simulate", "lookups", "c", "--audit", "a"]) == "a: translations: missing")
    }
}
