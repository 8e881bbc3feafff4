// SPDX-License-Identifier: MIT

// What users get wrong: each is one clear line on stderr, exit status 2, and
// leaves the directory as it was.

import Foundation
import Testing

/// Runs kperm on something it must refuse; gives what it said, without `kperm: `.
func refused(_ place: Workplace, status: Int32 = 2, _ arguments: [String]) async throws -> String {
    let before = try place.files
    let outcome = try await place.kperm(arguments)
    #expect(outcome.status == status, "\(arguments)")
    #expect(outcome.output.isEmpty, "\(arguments)")
    #expect(outcome.error.hasPrefix("kperm: ") && outcome.error.hasSuffix("\n"), "\(arguments): \(outcome.error)")
    #expect(outcome.error.count { $0 == "\n" } == 1, "\(arguments): \(outcome.error)")
    #expect(try place.files == before, "\(arguments)")
    return String(outcome.error.dropFirst(7).dropLast())
}

struct BadInputTests {
    @Test(arguments: [
        ("--pin nowhere", "sample: no symbol nowhere"),
        ("--pin nowhere+8", "sample: no symbol nowhere"),
        ("--pin page:618", "page:618: no such pages; the image has 618"),
        ("--pin page:5-4", "page:5-4: no such pages; the image has 618"),
        ("--pin page:x", "page:x: no such pages; the image has 618"),
        ("--pin _text+x", "_text+x: x is not a number of bytes"),
        ("--pin 0x1000", "0x1000: outside the image, which is 0xffffffff81000000 … 0xffffffff8126a000"),
        ("--pin 0xffffffffffffffff", "0xffffffffffffffff: no such address"),
        ("--pin _etext.._text", "_etext.._text: begins behind its end"),
        ("--glue nowhere", "sample: no symbol nowhere"),
        ("--glue page:0-45", "glue of pages 0..<46 does not fit into one page class: page 43 is outside it"),
        ("--glue page:560-563", "glue of pages 560..<564 does not fit into one page class: page 562 is outside it"),
        ("--glue page:200", "glue of pages 200..<201 does not fit into one page class: page 200 is outside it"),
        (
            "--cross-class",
            "sample: --cross-class is for a riscv64 Image with the table in virt_to_phys, or for a vmlinux with --rewrite; "
                + "this kernel needs its classes"
        ),
        ("--seed 00", "--seed: a seed is 32 bytes, 64 hexadecimal digits; this one has 2"),
        (
            "--seed \(String(repeating: "0", count: 65))",
            "--seed: a seed is 32 bytes, 64 hexadecimal digits; this one has 65"
        ),
        ("--seed \(String(repeating: "g", count: 64))", "--seed: a seed is written in hexadecimal digits (0-9, a-f)"),
        ("--seed-file missing", "missing: cannot open: No such file or directory"),
        ("--seed-file text", "text: a seed is 32 bytes, 64 hexadecimal digits; this one has 18"),
        ("--seed-file empty", "empty: a seed is 32 bytes, 64 hexadecimal digits; this one has 0"),
        ("--seed-file .", ".: cannot read: Is a directory"),
    ])
    func permuteRefuses(options: String, message: String) async throws {
        let place = try await Workplace("sample", "text", "empty")
        let arguments = ["permute", "sample", "-o", "out"] + options.split(separator: " ").map(String.init)
        #expect(try await refused(place, arguments) == message)
    }

    /// Wrong usage is told in one line, too.
    @Test(arguments: [
        "permute", "permute sample", "permute sample -o", "permute sample -o out --when boot",
        "permute sample -o out --when later", "permute sample -o out --encoding sideways",
        "permute sample -o out --granule 8K", "permute sample -o out --seed 00 --seed-file text",
        "permute sample -o out --frobnicate", "permute sample sample -o out", "frobnicate", "verify sample",
        "restore sample",
        "translate sample", "table sample --format xml", "inspect", "boot", "boot sample --repeat 0",
        "boot sample --repeat x", "boot sample --timeout 0", "boot sample --memory 64", "boot sample --cpus 0",
    ])
    func wrongUsage(words: String) async throws {
        let place = try await Workplace("sample", "text")
        let said = try await refused(place, words.split(separator: " ").map(String.init))
        #expect(!said.contains("Usage:"))
    }

    @Test(arguments: [
        ("translate permuted-segments 0x1000", "0x1000: 0x1000 lies outside the image"),
        ("translate permuted-segments nowhere", "permuted-segments: no symbol nowhere"),
        ("translate permuted-segments --reverse 0x1", "0x1: outside the image's frames"),
        ("translate permuted-segments --reverse _text", "_text: a physical address is a number"),
        ("table permuted-segments -o no/out", "no/out: cannot create: No such file or directory"),
        ("restore permuted-segments -o no/out", "no/out: cannot create: No such file or directory"),
        ("restore permuted-segments -o .", ".: exists and is not a regular file"),
    ])
    func outputsRefused(words: String, message: String) async throws {
        let place = try await Workplace("permuted-segments")
        #expect(try await refused(place, words.split(separator: " ").map(String.init)) == message)
    }
}
