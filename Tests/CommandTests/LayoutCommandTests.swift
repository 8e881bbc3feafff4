// SPDX-License-Identifier: MIT

// kperm layout as it is typed: golden transcripts, JSON, the sweep's picture, and
// what it refuses. kperm permute --unbootable, which is of the same kernels.

import Foundation
import TestSupport
import Testing

struct LayoutCommandTests {
    private static let lines = [
        "layout --mode sv39", "layout --mode sv48", "layout --mode sv57", "layout --mode x86-4", "layout --mode x86-5",
        "layout --mode arm64-39", "layout --mode arm64-48", "layout --mode sv39 --against sv48",
        "layout --mode x86-4 --against x86-5", "layout --mode sv57 --under sv39", "layout --mode x86-5 --under x86-4",
        "layout --mode sv39 --release 6.12 --maps sv39.txt", "layout --mode x86-5 --maps x86-5.txt",
        "layout --mode x86-4 --maps x86-5.txt",
        "layout --bits 32 --split 3072/768/256 --kernel-size 4M",
        "layout --bits 32 --split 3072/768/256 --kernel-size 10M --ram 2G --sweep",
        "layout --bits 32 --split 3840/256 --kernel-size 4M --ram 4G --entries 200000 --clock 1500 --copies 0",
        // What is refused.
        "layout", "layout --mode sv64", "layout --bits 16", "layout --mode sv39 --under sv48",
        "layout --mode sv48 --under x86-4", "layout --mode sv39 --against sv48 --under sv39",
        "layout --mode arm64-48 --release 6.12", "layout --mode sv39 --maps missing", "layout --mode sv39 --maps empty",
        "layout --mode sv39 --kernel-size 4M", "layout --bits 32 --mode sv39",
        "layout --bits 32 --split 3072/768/255 --kernel-size 4M",
        "layout --bits 32 --split 3072/1024/256 --kernel-size 4M",
        "layout --bits 32 --split 3072/768 --kernel-size 4M", "layout --bits 32 --split 1/2/3/4 --kernel-size 4M",
        "layout --bits 32 --split 3072//1024 --kernel-size 4M", "layout --bits 32 --split -1/3841/256 --kernel-size 4M",
        "layout --bits 32 --split 3072/768/99999999999999999999 --kernel-size 4M",
        "layout --bits 32 --split 18446744073709551615/1/1 --kernel-size 4M",
        "layout --bits 32 --split 3072/768/256 --kernel-size 0M",
        "layout --bits 32 --split 3072/768/256 --kernel-size 4",
        "layout --bits 32 --split 3072/768/256 --kernel-size 256M",
        "layout --bits 32 --split 3072/768/256 --kernel-size 18014398509481984G",
        "layout --bits 32 --split 3072/768/256 --kernel-size 4M --ram 4M",
        "layout --bits 32 --split 3072/768/256 --kernel-size 4M --ram 2048G",
        "layout --bits 32 --split 3840/256 --kernel-size 4M --clock 0",
        "layout --bits 32 --split 3840/256 --kernel-size 4M --entries -5",
        "layout --bits 32 --split 3840/256 --kernel-size 4M --copies nan",
        "layout --bits 32 --split 3072/768/256 --kernel-size 4M --svg out.svg",
    ]

    private func workplace() throws -> Workplace {
        let place = try Workplace()
        for (name, file) in [("sv39.txt", "riscv64-sv39.txt"), ("x86-5.txt", "x86_64-5.txt")] {
            try FileManager.default.copyItem(
                atPath: "\(checkout)/Tests/Fixtures/layout/\(file)", toPath: place[name])
        }
        try place.write([], to: "empty")
        return place
    }

    @Test func transcript() async throws {
        let place = try workplace()
        let before = try place.files
        var transcript = ""
        for words in Self.lines {
            let outcome = try await place.kperm(words.split(separator: " ").map(String.init))
            transcript += "$ kperm \(words)\n\(outcome.output)"
            transcript += outcome.error.split(separator: "\n").map { "! \($0)\n" }.joined()
            transcript += "exit \(outcome.status)\n\n"
            #expect(outcome.status == 0 || outcome.error.count { $0 == "\n" } == 1, "\(words)")
        }
        #expect(try place.files == before)
        let golden = "\(checkout)/Tests/Fixtures/commands/layout.txt"
        if ProcessInfo.processInfo.environment["KPERM_UPDATE_GOLDEN"] != nil {
            try Data(transcript.utf8).write(to: URL(fileURLWithPath: golden))
        }
        let expected = String(decoding: try Data(contentsOf: URL(fileURLWithPath: golden)), as: UTF8.self)
        for (now, was) in zip(transcript.split(separator: "\n\n"), expected.split(separator: "\n\n")) {
            #expect(now == was)
        }
        #expect(transcript == expected)
    }

    @Test(arguments: [
        "--mode sv39", "--mode sv48 --under sv39", "--mode x86-4 --against x86-5", "--mode x86-5 --maps x86-5.txt",
        "--bits 32 --split 3072/768/256 --kernel-size 4M --sweep",
    ])
    func jsonParses(words: String) async throws {
        let outcome = try await workplace().kperm(["layout", "--json"] + words.split(separator: " ").map(String.init))
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        _ = try #require(JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
    }

    /// The mail's figures, from the program.
    @Test func theMailsFigures() async throws {
        for (size, space, vmalloc) in [("4M", "0.10 %", "1.56 %"), ("10M", "0.24 %", "3.91 %")] {
            let outcome = try await workplace().kperm(
                "layout", "--bits", "32", "--split", "3072/768/256", "--kernel-size", size)
            #expect(outcome.output.contains("mapped twice: \(space) of the address space, \(vmalloc) of vmalloc"))
        }
    }

    @Test func picture() async throws {
        let place = try workplace()
        let outcome = try await place.kperm(
            "layout", "--bits", "32", "--split", "3072/768/256", "--kernel-size", "4M", "--sweep", "--svg", "out.svg")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        let text = String(decoding: try place.bytes("out.svg"), as: UTF8.self)
        #expect(text.contains("<svg") && text.contains("vmalloc 256 MB") && text.contains("kernel, MB"))
        let elsewhere = try await place.kperm(
            "layout", "--bits", "32", "--split", "3072/768/256", "--kernel-size", "4M", "--sweep", "--svg", "no/out.svg"
        )
        #expect(elsewhere.status == 2 && elsewhere.error.hasPrefix("kperm: no/out.svg: cannot write"))
    }

    @Test func costsAreMeasured() async throws {
        struct Report: Decodable {
            struct Cost: Decodable {
                let variant: String
                let question: String
                let kind: String
                let againstConstant: Double
            }
            let costs: [Cost]
        }
        let outcome = try await workplace().kperm("layout", "--mode", "sv48", "--measure", "--json")
        try #require(outcome.status == 0, "\(outcome.error)")
        let costs = try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8)).costs
        #expect(Set(costs.map(\.question)).count == 4)
        #expect(
            Set(costs.map(\.variant)) == [
                "constant offset", "variable offset", "linear, both mappings", "test of borders in memory",
                "table, variable offset",
            ])
        #expect(costs.count == 32)
        #expect(costs.allSatisfy { $0.againstConstant > 0 })
    }

    /// A 32-bit kernel: refused, unless asked for; then nothing but boot and what reads code refuses it.
    @Test(arguments: ["armv7-none-eabi", "riscv32-unknown-elf"]) func unbootable(target: String) async throws {
        let scratch = try Scratch()
        try linkKernel32(for: target, in: scratch)
        func kperm(_ words: String) async throws -> Outcome {
            try await execute(product, words.split(separator: " ").map(String.init), in: scratch.path)
        }
        let refused = try await kperm("permute vmlinux -o out")
        #expect(refused.status == 2 && refused.error.contains("--unbootable writes it all the same"))
        #expect(try await kperm("permute vmlinux -o out --unbootable --audit full").status == 2)
        #expect(try !scratch.files.contains("out"))
        for encoding in ["segments", "contents"] {
            let made = try await kperm("permute vmlinux -o out --unbootable --encoding \(encoding)")
            #expect(made.status == 0 && made.output.contains("this image does not boot"))
            #expect(try await kperm("verify vmlinux out").status == 0)
            #expect(try await kperm("restore out -o back").status == 0)
            #expect(try readBytes(scratch["back"]) == readBytes(scratch["vmlinux"]))
            #expect(try await kperm("translate out _stext+0x10").output.hasPrefix("0xc0210010 0x"))
            #expect(try await kperm("table out --format bin -o table").status == 0)
            let boot = try await kperm("boot out")
            #expect(boot.status == 2 && boot.error.contains("made with --unbootable"))
        }
        for (words, reason) in [
            ("boot vmlinux", "32-bit kernel"), ("audit vmlinux", "32-bit kernel"),
            ("evaluate vmlinux --gadgets", "x86-64 kernels only"),
        ] {
            let outcome = try await kperm(words)
            #expect(outcome.status == 2 && outcome.error.contains(reason), "\(words): \(outcome.error)")
        }
        let sample = try await Workplace("sample")
        let needless = try await sample.kperm("permute", "sample", "-o", "out", "--unbootable")
        #expect(needless.status == 2 && needless.error.contains("leave --unbootable out"))
    }
}
