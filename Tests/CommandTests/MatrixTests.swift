// SPDX-License-Identifier: MIT

// Every subcommand crossed with every fixture. What is said and how it ends
// stands in Tests/Fixtures/commands, a transcript a subcommand, with `! ` before
// what went to stderr. KPERM_UPDATE_GOLDEN=1 writes the transcripts anew: then
// read the difference.

import Foundation
import Testing

struct MatrixTests {
    /// A subcommand and its arguments, with `IMAGE` for the fixture.
    struct Line: Sendable, CustomTestStringConvertible {
        let name: String
        let words: String
        var testDescription: String { name }
    }

    static let lines = [
        Line(name: "inspect", words: "inspect IMAGE"),
        Line(name: "inspect-json", words: "inspect IMAGE --json"),
        Line(name: "permute", words: "permute IMAGE -o out --seed SEED"),
        Line(
            name: "permute-contents", words: "permute IMAGE -o out --encoding contents --granule 16K --seed SEED --json"
        ),
        Line(name: "permute-dry-run", words: "permute IMAGE --dry-run --pin _text --glue page:20-23 --seed SEED"),
        Line(name: "verify", words: "verify sample IMAGE"),
        Line(name: "verify-json", words: "verify sample IMAGE --json"),
        Line(name: "verify-swapped", words: "verify IMAGE permuted-segments"),
        Line(name: "restore", words: "restore IMAGE -o out"),
        Line(name: "translate", words: "translate IMAGE _text 0xffffffff81003010 initial_code+8"),
        Line(name: "translate-reverse", words: "translate IMAGE --reverse 0x1003010 --json"),
        Line(name: "table", words: "table IMAGE"),
        Line(name: "table-c", words: "table IMAGE --format c -o out"),
        Line(name: "simulate-dma", words: "simulate dma IMAGE transfers"),
        Line(name: "simulate-dma-json", words: "simulate dma IMAGE transfers --json --limit 1"),
        Line(name: "evaluate", words: "evaluate IMAGE _text+0x5000 init_top_pgt --guesses 1,5 --leaks 2"),
        Line(name: "evaluate-json", words: "evaluate figures IMAGE --granule 16K --glue page:20-23 --json"),
        Line(name: "boot", words: "boot IMAGE"),
        Line(name: "boot-repeat", words: "boot IMAGE --repeat 2"),
    ]

    @Test(arguments: lines) func transcript(line: Line) async throws {
        var transcript = ""
        for image in Fixtures.names {
            let place = try await Workplace(Array(Set([image, "sample", "permuted-segments", "transfers"])))
            let before = try place.files
            let words = line.words.replacing("IMAGE", with: image)
            let arguments = words.replacing("SEED", with: Workplace.seed).split(separator: " ").map(String.init)
            let outcome = try await place.kperm(arguments)
            let new = try place.files.filter { !before.contains($0) && !$0.hasSuffix(".log") }
            let said = normalised(outcome, place, drawsAfresh: words.contains("--repeat"))
            transcript += "$ kperm \(words)\n\(said)exit \(outcome.status)"
            for file in new { transcript += ", wrote \(file) (mode \(try place.mode(file)))" }
            transcript += "\n\n"

            #expect(outcome.status == 0 || outcome.error.count { $0 == "\n" } == 1, "\(words)")
            #expect(outcome.status != 0 || outcome.error.isEmpty, "\(words)")
            #expect((outcome.status == 0) == outcome.error.isEmpty || outcome.status == 1)
            #expect(outcome.status == 0 || new.isEmpty, "\(words) leaves \(new)")
        }
        let golden = "\(checkout)/Tests/Fixtures/commands/\(line.name).txt"
        if ProcessInfo.processInfo.environment["KPERM_UPDATE_GOLDEN"] != nil {
            try Data(transcript.utf8).write(to: URL(fileURLWithPath: golden))
        }
        let expected = String(decoding: try Data(contentsOf: URL(fileURLWithPath: golden)), as: UTF8.self)
        for (now, was) in zip(sections(transcript), sections(expected)) { #expect(now == was) }
        #expect(sections(transcript).count == sections(expected).count)
    }

    private func sections(_ transcript: String) -> [String] { transcript.split(separator: "\n\n").map(String.init) }

    /// Seconds, paths and what chance decides as placeholders; long output cut.
    private func normalised(_ outcome: Outcome, _ place: Workplace, drawsAfresh: Bool) -> String {
        var text = outcome.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            .map { $0.count > 300 ? "\($0.prefix(80)) … (\($0.utf8.count) bytes)" : String($0) }
        if text.count > 120 { text = text.prefix(100) + ["… \(text.count - 100) more lines"] }
        text += outcome.error.split(separator: "\n").map { "! \($0)" }
        let joined = text.map { $0 + "\n" }.joined()
        return (drawsAfresh ? joined.replacing(/[0-9]+ (of them )?moved/) { "N \($0.1 ?? "")moved" } : joined)
            .replacing(place.path, with: "DIRECTORY")
            .replacing(/[0-9]+\.[0-9] s\b/, with: "N s").replacing(/("seconds" : )[0-9.e-]+/) { "\($0.1)N" }
            .replacing(/[0-9]+ bytes compared/, with: "N bytes compared")
            .replacing(/("bytesCompared" : )[0-9]+/) { "\($0.1)N" }
            .replacing(/kperm-boot-[A-Za-z0-9]+/, with: "kperm-boot-X")
    }
}
