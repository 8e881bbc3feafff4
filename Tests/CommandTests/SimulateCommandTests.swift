// SPDX-License-Identifier: MIT

// kperm simulate dma on lists that are wrong, long or not there, on tables, and
// on images without names of their own.

import Foundation
import Testing

struct SimulateCommandTests {
    private func workplace(_ list: String, _ names: String...) async throws -> Workplace {
        let place = try await Workplace(["permuted-segments", "sample"] + names)
        try place.write(Array(list.utf8), to: "list")
        return place
    }

    @Test func goesOnBehindWrongLines() async throws {
        let place = try await workplace("filler_data 512\n\nfiller_data 512 from\nnowhere 1 to\n")
        let outcome = try await place.kperm("simulate", "dma", "permuted-segments", "list")
        #expect(outcome.status == 0)
        #expect(
            outcome.error == """
                kperm: list:1: not 3 words but 2: 0xADDRESS or SYMBOL+OFFSET, LENGTH, and to, from or both
                kperm: list:4: no symbol nowhere

                """)
        #expect(outcome.output.hasPrefix("line 3: filler_data "))
        #expect(outcome.output.hasSuffix("; skipped: 2 lines\n"))
    }

    @Test func tellsTwentyWrongLines() async throws {
        let place = try await workplace("filler_data 1 to\n" + String(repeating: "nowhere 1 to\n", count: 30))
        let outcome = try await place.kperm("simulate", "dma", "permuted-segments", "list")
        #expect(outcome.status == 0 && outcome.error.split(separator: "\n").count == 21)
        #expect(outcome.error.hasSuffix("kperm: list: 10 more lines like these\n"))
    }

    private static let form = "a line is 0xADDRESS or SYMBOL+OFFSET, LENGTH, and to, from or both"

    @Test(arguments: [
        ("", "list: is empty; \(form)"), ("\n# nothing\n", "list: is empty; \(form)"),
    ])
    func nothingToDo(list: String, message: String) async throws {
        let place = try await workplace(list)
        #expect(try await refused(place, ["simulate", "dma", "permuted-segments", "list"]) == message)
    }

    @Test func nothingUsable() async throws {
        let place = try await workplace("filler_data 0 to\n")
        let outcome = try await place.kperm("simulate", "dma", "permuted-segments", "list")
        #expect(outcome.status == 2 && outcome.output.isEmpty)
        #expect(
            outcome.error == """
                kperm: list:1: a length of 0 bytes transfers nothing
                kperm: list: has no line that can be used; \(Self.form)

                """)
    }

    @Test(arguments: [
        ("simulate dma permuted-segments nowhere", "nowhere: cannot open: No such file or directory"),
        ("simulate dma permuted-segments .", ".: cannot read: Is a directory"),
        ("simulate dma permuted-segments list --symbols text", "text: at byte 0x0: not an ELF file"),
        ("simulate dma permuted-segments list --symbols stripped", "stripped: no symbols"),
        (
            "simulate dma permuted-segments list --symbols aarch64",
            "aarch64: no symbols _text and _end, between which a kernel lies"
        ),
        ("simulate dma damaged list", "damaged: no translation table (magic KPERMTBL, version 1) here"),
    ])
    func refusals(words: String, message: String) async throws {
        let place = try await workplace("0x1 1 to\n", "text", "stripped", "aarch64")
        try place.write(Array("KPERMTBL and no more".utf8), to: "damaged")
        #expect(try await refused(place, words.split(separator: " ").map(String.init)) == message)
    }

    @Test func failsWhenAskedTo() async throws {
        // Of 40 pages that trade places not all keep their neighbours.
        let place = try await workplace("filler_data 0x28000 from\n")
        let words = ["simulate", "dma", "permuted-segments", "list"]
        #expect(try await place.kperm(words).status == 0)
        let failed = try await place.kperm(words + ["--fail-on", "wrong"])
        #expect(failed.status == 1 && failed.error == "kperm: list: 1 transfers go wrong as one segment\n")
        try place.write(Array("filler_data 0x1000 from\n".utf8), to: "list")
        #expect(try await place.kperm(words + ["--fail-on", "wrong"]).status == 0)
        #expect(try await place.kperm(words + ["--fail-on", "right"]).status == 2)
    }

    /// A table says the same as the image that it is from, given names.
    @Test func readsTables() async throws {
        let place = try await workplace("filler_data+0xf00 512 from\n0xffffffff81003ff0 32 to\n")
        let image = try await place.kperm("simulate", "dma", "permuted-segments", "list")
        #expect(try await place.kperm("table", "permuted-segments", "--format", "bin", "-o", "table").status == 0)
        let named = try await place.kperm("simulate", "dma", "table", "list", "--symbols", "sample")
        #expect(named.status == 0 && named.output == image.output)
        for format in ["json", "c", "asm"] {
            #expect(try await place.kperm("table", "permuted-segments", "--format", format, "-o", format).status == 0)
            let outcome = try await place.kperm("simulate", "dma", format, "list", "--symbols", "sample")
            #expect(outcome.status == 0 && outcome.output == image.output, "\(format): \(outcome.error)")
        }
        let nameless = try await place.kperm("simulate", "dma", "table", "list")
        #expect(nameless.status == 0 && nameless.output.contains("nothing with a name"))
        #expect(
            nameless.error == """
                kperm: list:1: no symbol filler_data
                kperm: table: a table has no names: give --symbols IMAGE

                """)
    }

    @Test func namesFollowTheKernel() async throws {
        let place = try await workplace("filler_data 1 to\n")
        #expect(try await place.kperm("table", "permuted-segments", "--format", "bin", "-o", "table").status == 0)
        var table = try place.bytes("table")
        table[19] = 0x91  // KASLR moved the kernel by 256 MB
        table.replaceSubrange(36..<40, with: [0, 0, 0, 0])
        var checksum: UInt32 = .max
        for byte in table {
            checksum ^= UInt32(byte)
            for _ in 0..<8 { checksum = checksum >> 1 ^ (checksum & 1 == 0 ? 0 : 0x82f6_3b78) }
        }
        table.replaceSubrange(36..<40, with: (0..<4).map { UInt8(truncatingIfNeeded: ~checksum >> (8 * $0)) })
        try place.write(table, to: "table")
        let outcome = try await place.kperm("simulate", "dma", "table", "list", "--symbols", "sample")
        #expect(outcome.status == 0)
        #expect(outcome.output.hasPrefix("line 1: filler_data (0xffffffff91209000), 1 bytes"), "\(outcome.error)")
    }

    /// A stock kernel takes the linear address of a page that moved.
    @Test func untranslated() async throws {
        let place = try await workplace("filler_data+0xf00 16 from\n")
        let words = ["simulate", "dma", "permuted-segments", "list"]
        #expect(try await place.kperm(words).output.contains("bytes from the device: 1 segment\n"))
        let linear = try await place.kperm(words + ["--as", "untranslated"])
        #expect(linear.output.contains(": 1 segment; as one, 16 bytes are wrong\n"))
        let translated = try await place.kperm("translate", "permuted-segments", "filler_data+0xf00")
        let physical = try #require(translated.output.split(separator: " ").last).dropLast()
        #expect(linear.output.contains(" at 0x1209f00 instead of \(physical)\n"), "\(linear.output)")
    }

    @Test func readsPipes() async throws {
        let place = try await workplace("filler_data 1 to\n")
        let script = #"cat list | "$0" simulate dma permuted-segments -"#
        let outcome = try await execute("sh", ["-c", script, product], in: place.path)
        #expect(outcome.status == 0 && outcome.output.hasPrefix("line 1: filler_data "))
    }
}
