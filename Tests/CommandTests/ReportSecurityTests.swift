// SPDX-License-Identifier: MIT

// kperm report security on the sample kernel in all forms, results of attacks on
// Debian's kernel, and what it refuses.

import Foundation
import Report
import SecurityEvaluation
import Testing

struct ReportSecurityTests {
    @Test func forms() async throws {
        let place = try await Workplace("sample")
        let outcome = try await place.kperm(
            "report", "security", "sample", "_text+0x5000", "init_top_pgt", "--quick", "-o", "page.html", "-o",
            "report.json",
            "-o",
            "report.md")
        try #require(outcome.status == 0 && outcome.error.isEmpty && outcome.output.isEmpty, "\(outcome.error)")
        let report = try JSONDecoder().decode(SecurityReport.self, from: Data(try place.bytes("report.json")))
        #expect(report.evaluation.targets.map(\.name) == ["_text+0x5000", "init_top_pgt"])
        #expect(report.evaluation.comparedTarget == "_text+0x5000" && report.attacks.isEmpty)
        #expect(report.evaluation.gadgets == nil && report.evaluation.played == nil && report.randomness == nil)
        #expect(report.map.step == 1 && report.map.frames.count == report.evaluation.pages)
        #expect(Set(report.map.frames) == Set(0..<report.evaluation.pages))

        // The page and the Markdown are of these numbers, and are written again from them.
        let page = String(decoding: try place.bytes("page.html"), as: UTF8.self)
        #expect(String(decoding: try place.bytes("report.md"), as: UTF8.self) == report.document.markdown)
        let again = try await place.kperm("report", "security", "--from", "report.json", "-o", "again.html")
        #expect(again.status == 0 && again.error.isEmpty)
        #expect(String(decoding: try place.bytes("again.html"), as: UTF8.self) == page)
        let printed = try await place.kperm("report", "security", "--from", "report.json", "--json")
        #expect(try JSONDecoder().decode(SecurityReport.self, from: Data(printed.output.utf8)) == report)
    }

    /// A report of what cannot be is written, and its command fails.
    @Test func unbelievableHits() async throws {
        let place = try await Workplace("sample")
        let outcome = try await place.kperm("report", "security", "sample", "--quick", "--json")
        let empty = #""attacks" : [\n\n  ]"#.replacing(#"\n"#, with: "\n")
        let attack = """
            "attacks": [{"kind": "text", "words": "blind write", "target": "x", "pageClass": "text", "isPermuted": true,
            "frames": 42, "leaked": 0, "reads": 0, "prediction": 0.0238, "isExact": true,
            "count": {"hits": 9, "trials": 10}, "crashed": 0, "refused": 0, "notFound": 0, "contradictions": 0,
            "secondsPerBoot": 1, "files": ["a"], "namesKernel": true}]
            """
        try place.write(Array(outcome.output.replacing(empty, with: attack).utf8), to: "report.json")
        let wrong = try await place.kperm("report", "security", "--from", "report.json", "-o", "page.md")
        #expect(wrong.status == 1)
        #expect(wrong.error == "kperm: report.json: blind write: 9 hits of 10 are not what 0.0238 predicts\n")
        let page = String(decoding: try place.bytes("page.md"), as: UTF8.self)
        #expect(page.contains("Something is wrong: blind write: 9 hits of 10"))
    }

    private struct Table: Decodable { let forward: [Int] }

    /// What stands in the page of an image is not where its own pages lie.
    @Test func keepsTheImagesOrder() async throws {
        let place = try await Workplace("sample", "permuted-segments")
        let json = try await place.kperm("table", "permuted-segments").output
        let own = try JSONDecoder().decode(Table.self, from: Data(json.utf8)).forward
        func report(_ image: String) async throws -> SecurityReport {
            let outcome = try await place.kperm("report", "security", image, "--quick", "--json")
            try #require(outcome.status == 0, "\(outcome.error)")
            return try JSONDecoder().decode(SecurityReport.self, from: Data(outcome.output.utf8))
        }
        let (original, permuted) = (try await report("sample"), try await report("permuted-segments"))
        #expect(permuted.map == original.map, "of the same plan and seed")
        let moving = permuted.map.pageClasses.indices.filter { permuted.map.pageClasses[$0] >= 0 }
        #expect(moving.count { permuted.map.frames[$0] == own[$0] } < 20)
        #expect(permuted.evaluation.structure != nil && original.evaluation.structure == nil)
        #expect(permuted.evaluation.state == "drawn at build")
    }

    /// As `kperm evaluate attack --json` prints it, with as many boots as outcomes.
    private static func results(
        kind: String = "modprobe-path", target: String = "modprobe_path", outcomes: [String], frames: Int,
        prediction: Double, offset: Int, hits: Int? = nil, isPermuted: Bool = true, more: [String: Any] = [:]
    ) throws -> [UInt8] {
        let results = outcomes.enumerated().map { number, outcome in
            [
                "outcome": outcome, "target": target, "offsetInFrame": offset, "isRightFrame": outcome == "hit",
                "frames": frames, "leaked": 0, "reads": 0, "restarts": 0,
                "seconds": Double(number) + prediction + Double(outcomes.count),
            ] as [String: Any]
        }
        let report: [String: Any] = [
            "image": "vmlinuz", "kind": kind, "target": target, "pageClass": "data", "isPermuted": isPermuted,
            "frames": frames, "prediction": prediction, "predictionIsExact": true, "boots": outcomes.count,
            "hits": hits ?? outcomes.count { $0 == "hit" }, "crashed": 0, "rate": 0, "low": 0, "high": 1,
            "holdsPrediction": true, "chance": 1, "secondsPerBoot": 1, "results": results,
        ]
        return Array(try JSONSerialization.data(withJSONObject: report.merging(more) { $1 }))
    }

    /// What can be seen of a file without any kernel.
    @Test func refusesResults() async throws {
        let place = try await Workplace("sample", "text")
        let words = ["report", "security", "sample", "--quick", "--attacks"]
        #expect(try await refused(place, words + ["none.json"]) == "none.json: cannot open: No such file or directory")
        #expect(try await refused(place, words + ["text"]) == "text: not what kperm evaluate attack --json prints")
        let missed = ["missed", "missed"]
        try place.write(
            try Self.results(outcomes: missed, frames: 41, prediction: 1.0 / 41, offset: 0, hits: 1), to: "spoilt.json")
        #expect(
            try await refused(place, words + ["spoilt.json"])
                == "spoilt.json: 1 hits of 2, but its boots say 0 of 2: changed since it was printed")
        try place.write(try Self.results(outcomes: [], frames: 41, prediction: 1.0 / 41, offset: 0), to: "empty.json")
        #expect(try await refused(place, words + ["empty.json"]).hasPrefix("empty.json: 0 hits of 0, but"))
        try place.write(
            try Self.results(outcomes: missed, frames: 41, prediction: 1.0 / 41, offset: 0), to: "a.json")
        try FileManager.default.copyItem(atPath: place["a.json"], toPath: place["b.json"])
        #expect(
            try await refused(place, words + ["a.json", "b.json"]) == "b.json: the same boots as a.json: give them once"
        )
        #expect(
            try await refused(place, words + ["a.json"])
                == "a.json: attack modprobe-path on modprobe_path does not fit: "
                + "sample: not Linux: nothing in it tells what an attack did")
        try place.write(
            try Self.results(kind: "laser", outcomes: missed, frames: 41, prediction: 1, offset: 0), to: "kind.json")
        #expect(
            try await refused(place, words + ["kind.json"])
                == "kind.json: an attack of kind laser, which this kperm does not know")
        #expect(try place.files == ["a.json", "b.json", "empty.json", "kind.json", "sample", "spoilt.json", "text"])
    }

    @Test(.enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set")) func resultsOfAttacks() async throws {
        let place = try Workplace()
        try FileManager.default.copyItem(atPath: try await DebianVmlinuz.path(), toPath: place["vmlinuz"])
        func report(_ words: [String]) async throws -> Outcome {
            try await place.kperm(["report", "security", "vmlinuz", "modprobe_path", "--quick", "--json"] + words)
        }
        func parsed(_ outcome: Outcome) throws -> SecurityReport {
            try JSONDecoder().decode(SecurityReport.self, from: Data(outcome.output.utf8))
        }
        let plain = try await report([])
        try #require(plain.status == 0, "\(plain.error)")
        let aim = try #require(try parsed(plain).evaluation.targets.first)
        let address = try #require(UInt64(aim.address.dropFirst(2), radix: 16))
        let (frames, offset) = (aim.candidates, Int(address % 4096))
        let names = ["release": try #require(try parsed(plain).evaluation.release), "address": aim.address]
        let build = try parsed(plain).build.map { ["build": $0] } ?? [:]
        let all = names.merging(build) { $1 }
        func write(
            _ name: String, _ outcomes: [String], frames: Int = frames, offset: Int = offset, more: [String: Any] = all
        )
            throws
        {
            try place.write(
                try Self.results(
                    outcomes: outcomes, frames: frames, prediction: 1 / Double(frames), offset: offset,
                    isPermuted: frames > 1, more: more), to: name)
        }
        try write("stock.json", ["hit", "hit"], frames: 1)
        try write("a.json", ["missed", "crashed", "missed"])
        try write("b.json", ["missed", "missed"], more: [:])
        let outcome = try await report(["--attacks", "a.json", "b.json", "stock.json"])
        try #require(outcome.status == 0, "\(outcome.error)")
        let attacks = try parsed(outcome).attacks
        #expect(attacks.map(\.isPermuted) == [false, true])
        #expect(attacks[0].count.hits == 2 && attacks[0].namesKernel && attacks[0].prediction == 1)
        #expect(attacks[1].count.hits == 0 && attacks[1].count.trials == 5 && attacks[1].crashed == 1)
        #expect(attacks[1].files == ["a.json", "b.json"] && !attacks[1].namesKernel)
        #expect(attacks[1].prediction == 1 / Double(frames))

        try write("frames.json", ["missed"], frames: frames - 1)
        try write("offset.json", ["missed"], offset: offset ^ 8, more: [:])
        try write("release.json", ["missed"], more: all.merging(["release": "5.10.0-1-amd64"]) { $1 })
        for (name, message) in [
            (
                "frames.json",
                "modprobe_path is in one of \(frames - 1) frames of class data; in vmlinuz in one of \(frames)"
            ),
            ("offset.json", "modprobe_path is at byte 0x\(String(offset ^ 8, radix: 16)) of a page; in vmlinuz at"),
            ("release.json", "of Linux 5.10.0-1-amd64, "),
        ] {
            let wrong = try await report(["--attacks", name])
            #expect(wrong.status == 2 && wrong.output.isEmpty)
            #expect(wrong.error.hasPrefix("kperm: \(name): \(message)"), "\(wrong.error)")
            #expect(wrong.error.hasSuffix(": of another kernel or plan\n"))
        }
    }

    @Test(arguments: [
        ("", "give an image, or --from FILE.json (--help explains)"),
        (
            "--from report.json --attacks a.json",
            "--from takes all from its file: leave out what the report would be computed from (--help explains)"
        ),
        ("sample --memory 1", "--memory: 64 to 16777216 MiB (--help explains)"),
        ("sample --seed 00", "--seed: a seed is 32 bytes, 64 hexadecimal digits; this one has 2"),
        ("sample no_such_symbol --quick", "sample: no symbol no_such_symbol"),
        ("permuted-segments --granule 16K", nil), ("aarch64 --quick", nil), ("empty --quick", nil),
        ("sample -o none/a.json", "none/a.json: cannot write there: No such file or directory"),
        ("--from sample", "sample: not a report that kperm report security wrote as JSON"),
    ])
    func refusals(words: String, message: String?) async throws {
        let place = try await Workplace("sample", "permuted-segments", "aarch64", "empty")
        let said = try await refused(place, ["report", "security"] + words.split(separator: " ").map(String.init))
        #expect(message == nil || said == message, "\(said)")
    }

    @Test func help() async throws {
        let outcome = try await Workplace().kperm("report", "security", "--help")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        #expect(outcome.output.contains("USAGE: kperm report security"))
        for option in ["--attacks", "--quick", "--from", "--seed", "--table", "--output"] {
            #expect(outcome.output.contains(option), "\(option)")
        }
    }
}
