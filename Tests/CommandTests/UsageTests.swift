// SPDX-License-Identifier: MIT

// What the command line says of itself, and that JSON is JSON.

import Foundation
import Testing

struct UsageTests {
    private static let subcommands = [
        "inspect", "permute", "verify", "restore", "translate", "table", "boot", "bench", "layout", "report",
    ]

    @Test(arguments: [[]] + subcommands.map { [$0] }) func help(subcommand: [String]) async throws {
        let outcome = try await Workplace().kperm(subcommand + ["--help"])
        #expect(outcome.status == 0)
        #expect(outcome.error.isEmpty)
        #expect(outcome.output.hasPrefix("OVERVIEW: "))
        #expect(outcome.output.contains("USAGE: kperm \(subcommand.first ?? "")"))
        #expect(subcommand.isEmpty == Self.subcommands.allSatisfy { outcome.output.contains("\n  \($0) ") })
        let helped = try await Workplace().kperm(["help"] + subcommand)
        #expect(helped.status == 0 && helped.output == outcome.output)
    }

    @Test func version() async throws {
        let outcome = try await Workplace().kperm("--version")
        #expect(outcome.status == 0)
        #expect(outcome.output.wholeMatch(of: /kperm [0-9]+\.[0-9]+\.[0-9]+\n/) != nil)
    }

    @Test(arguments: ["bash", "zsh", "fish"]) func completions(shell: String) async throws {
        let outcome = try await Workplace().kperm("--generate-completion-script", shell)
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        for name in Self.subcommands { #expect(outcome.output.contains(name)) }
    }

    @Test(arguments: [
        "inspect sample --json", "inspect permuted-contents --json", "permute sample -o out --json",
        "permute sample --dry-run --json", "verify sample permuted-segments --json",
        "translate permuted-segments --json _text", "translate permuted-contents --json --reverse 0x1000000",
        "table permuted-segments", "boot permuted-segments --json", "boot permuted-segments --json --repeat 2",
    ])
    func jsonParses(words: String) async throws {
        let place = try await Workplace("sample", "permuted-segments", "permuted-contents")
        let outcome = try await place.kperm(words.split(separator: " ").map(String.init))
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        _ = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
    }

    @Test(arguments: [
        ("--modules .", "--modules is for --rewrite"),
        ("--rewrite --modules-output out", "--modules-output is for --modules"),
    ])
    func modulesBelongToLookups(options: String, message: String) async throws {
        let place = try await Workplace("sample")
        let outcome = try await place.kperm(
            ["permute", "sample", "-o", "out"] + options.split(separator: " ").map(String.init))
        #expect(outcome.status == 2 && outcome.output.isEmpty && outcome.error.contains(message))
    }

    /// A proof that fails is JSON, too: what is wrong on stdout, the summary on stderr.
    @Test func failedProof() async throws {
        let place = try await Workplace("sample", "permuted-segments")
        var bytes = try place.bytes("permuted-segments")
        bytes[0x5000] ^= 1
        try place.write(bytes, to: "spoilt")
        let plain = try await place.kperm("verify", "sample", "spoilt")
        #expect(plain.status == 1)
        #expect(plain.error == "kperm: spoilt: not proved: 1 findings\n")
        #expect(plain.output.hasPrefix("page 4 (0xffffffff81004000): the bytes at 0x"))
        let json = try await place.kperm("verify", "sample", "spoilt", "--json")
        #expect(json.status == 1)
        let object = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        #expect(object?["passed"] as? Bool == false)
        #expect((object?["findings"] as? [String])?.count == 1)
    }
}
