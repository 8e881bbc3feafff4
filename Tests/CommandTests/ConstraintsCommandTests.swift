// SPDX-License-Identifier: MIT

// Constraints on the command line: from a file, from a full audit and from its
// cache, which may be missing, damaged or somebody else's.

import Foundation
import Subprocess
import Testing

struct ConstraintsCommandTests {
    private func permute(_ place: Workplace, _ out: String, _ more: String...) async throws -> Outcome {
        try await execute(
            product, ["permute", "sample", "-o", out, "--seed", Workplace.seed] + more, in: place.path,
            environment: ["TMPDIR": place.path, "KPERM_CACHE": place["cache"]])
    }

    private func table(_ place: Workplace, _ image: String) async throws -> String {
        let outcome = try await place.kperm("table", image)
        try #require(outcome.status == 0, "\(outcome.error)")
        return outcome.output
    }

    @Test func aFileSaysWhatOptionsSay() async throws {
        let place = try await Workplace("sample")
        try place.write(
            Array(#"{"constraints": {"pins": [{"pages": "_text"}], "glue": [{"pages": "page:20-23"}]}}"#.utf8), to: "a")
        try place.write(
            Array(#"{"pins": [{"pages": "_text", "reason": "so"}], "glue": [{"pages": "page:20-23"}]}"#.utf8), to: "b")
        #expect(try await permute(place, "1", "--pin", "_text", "--glue", "page:20-23").status == 0)
        #expect(try await permute(place, "2", "--constraints", "a").status == 0)
        #expect(try await permute(place, "3", "--constraints", "b").status == 0)
        #expect(try await permute(place, "4").status == 0)
        let wanted = try await table(place, "1")
        #expect(try await table(place, "2") == wanted)
        #expect(try await table(place, "3") == wanted)
        #expect(try await table(place, "4") != wanted)
        #expect(try await place.kperm("verify", "sample", "2").status == 0)
    }

    @Test(arguments: [
        ("{", "holds no constraints"), (#"{"pins": []}"#, "holds no constraints"),
        (#"{"pins": [{"pages": "nowhere"}], "glue": []}"#, "no symbol nowhere"),
        (#"{"pins": [], "glue": [{"pages": "0x10..0x20"}]}"#, "outside the image"),
    ])
    func badFiles(text: String, says: String) async throws {
        let place = try await Workplace("sample")
        try place.write(Array(text.utf8), to: "constraints")
        let outcome = try await permute(place, "out", "--constraints", "constraints")
        #expect(outcome.status == 2 && outcome.error.contains(says), "\(outcome.error)")
        #expect(try !place.files.contains("out"))
    }

    /// The audit prints what permute takes.
    @Test func theAuditsOwnReport() async throws {
        let place = try await Workplace("sample")
        let report = try await place.kperm("audit", "sample", "--json")
        #expect(report.status == 0)
        try place.write(Array(report.output.utf8), to: "report")
        #expect(try await permute(place, "1", "--constraints", "report").status == 0)
        #expect(try await permute(place, "2", "--audit", "full").status == 0)
        #expect(try place.bytes("1") == place.bytes("2"))
        #expect(try await place.kperm("audit", "sample").output.contains("asks of permute: "))
    }

    @Test func theCacheIsNotTrustedBlindly() async throws {
        let place = try await Workplace("sample")
        #expect(try await permute(place, "1", "--audit", "full").status == 0)
        let names = try FileManager.default.contentsOfDirectory(atPath: place["cache/audit"])
        #expect(names.count == 1)
        let entry = "cache/audit/\(try #require(names.first))"
        #expect(try place.mode(entry) == "600")
        let good = String(decoding: try place.bytes(entry), as: UTF8.self)

        // What is believed is not written again.
        func number() throws -> Int? {
            let found = try FileManager.default.attributesOfItem(atPath: place[entry])[.systemFileNumber]
            return (found as? NSNumber)?.intValue
        }
        let first = try number()
        #expect(try await permute(place, "2", "--audit", "full").status == 0)
        #expect(try number() == first)
        // What others can write is not believed.
        try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: place[entry])
        #expect(try await permute(place, "2", "--audit", "full").status == 0)
        #expect(try place.mode(entry) == "600")

        let swapped = good.replacingOccurrences(of: #""pins":[]"#, with: #""pins":[{"pages":"page:20-40"}]"#)
        try #require(swapped != good)
        let wrong = [
            "", "{", String(good.dropLast(20)), swapped,
            good.replacingOccurrences(of: #""format":1"#, with: #""format":2"#),
        ]
        for text in wrong {
            try place.write(Array(text.utf8), to: entry)
            #expect(try await permute(place, "2", "--audit", "full").status == 0)
            #expect(try place.bytes("1") == place.bytes("2"))
            #expect(String(decoding: try place.bytes(entry), as: UTF8.self) == good, "kept: \(text.prefix(80))")
        }
        // Where nothing can be kept, it works all the same.
        try FileManager.default.removeItem(atPath: place["cache"])
        try place.write([1], to: "cache")
        #expect(try await permute(place, "3", "--audit", "full").status == 0)
        #expect(try place.bytes("1") == place.bytes("3"))
    }

    @Test func offIsSaid() async throws {
        let place = try await Workplace("sample")
        let made = try await permute(place, "out", "--audit", "off")
        #expect(made.status == 0 && made.output.contains("note:      --audit off: "))
        let proved = try await place.kperm("verify", "sample", "out")
        #expect(proved.status == 0 && proved.output.contains("note: made with --audit off"))
        #expect(try await permute(place, "out", "--audit", "some").status == 2)
    }
}
