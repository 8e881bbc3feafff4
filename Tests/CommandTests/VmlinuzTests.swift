// SPDX-License-Identifier: MIT

// Subcommands on a vmlinuz: what they refuse, in which words, and that nothing is
// written then; tables found in memory.

import Foundation
import Testing

struct VmlinuzTests {
    private static let liveOnly =
        "vmlinuz: a vmlinuz has its table in the running kernel only: kperm table --from-memory FILE reads it there"
    private static let notELF =
        "vmlinuz: at byte 0x0: a bzImage (vmlinuz), not an ELF file: give the vmlinux it was made from"
    private static let notPermuted = "vmlinuz: not a permuted kernel: it has no boot area of kperm's"

    /// The sample in a vmlinuz: a kernel that has symbols, and nothing of what the boot stub needs.
    @Test(arguments: [
        ("restore vmlinuz -o out", "vmlinuz: a vmlinuz was compressed anew and cannot be restored: use the original"),
        ("table vmlinuz", liveOnly), ("table vmlinuz --format c -o out", liveOnly),
        ("translate vmlinuz _text", liveOnly), ("translate vmlinuz --reverse 0x1000000", liveOnly),
        (
            "permute vmlinuz -o out --encoding segments",
            "vmlinuz: --encoding is for a vmlinux; a vmlinuz moves its pages while it starts"
        ),
        ("permute vmlinuz -o out --pin nowhere", "vmlinuz: no symbol nowhere"),
        ("permute vmlinuz -o out --pin page:618", "page:618: no such pages; the image has 618"),
        ("permute vmlinuz -o out --seed 00", "--seed: a seed is 32 bytes, 64 hexadecimal digits; this one has 2"),
        (
            "permute sample -o out --when boot",
            "sample: a vmlinux cannot draw at boot: use --when build, or give the vmlinuz"
        ),
        ("verify vmlinuz vmlinuz", notPermuted), ("verify vmlinuz sample", notELF),
        ("verify sample vmlinuz", notELF),
    ])
    func refuses(words: String, message: String) async throws {
        let place = try await Workplace("sample")
        try await place.addVmlinuz(of: "sample")
        #expect(try await refused(place, words.split(separator: " ").map(String.init)) == message)
    }

    @Test(arguments: ["", "--when boot", "--when build", "--dry-run", "--json", "--seed-file seed"])
    func noMemoryForTheStub(options: String) async throws {
        let place = try await Workplace("sample")
        try place.write(Array(Workplace.seed.utf8), to: "seed")
        try await place.addVmlinuz(of: "sample")
        let words = "permute vmlinuz -o out \(options)".split(separator: " ").map(String.init)
        #expect(
            try await refused(place, words)
                == "vmlinuz: no section .init.scratch, so there is no memory behind the image for the boot stub: "
                + "this kernel was built without support for AMD's memory encryption")
    }

    /// Neither a symbol table nor the kernel's own.
    @Test(arguments: ["inspect vmlinuz", "permute vmlinuz -o out"]) func noKallsyms(words: String) async throws {
        let place = try await Workplace("stripped")
        try await place.addVmlinuz(of: "stripped")
        let said = try await refused(place, words.split(separator: " ").map(String.init))
        #expect(said.hasPrefix("vmlinuz: no symbols: "))
    }

    @Test(arguments: [
        ("text", "vmlinuz: at byte 0x0: not an ELF file"),
        (
            "elf32",
            "vmlinuz: wrong architecture: ELF machine 3, 32 bits; kperm permutes x86-64, riscv64, armv7, riscv32"
        ),
        (
            "aarch64",
            "vmlinuz: wrong architecture: ELF machine 183, 64 bits; kperm permutes x86-64, riscv64, armv7, riscv32"
        ),
    ])
    func noKernelInside(name: String, message: String) async throws {
        let place = try await Workplace(name)
        try await place.addVmlinuz(of: name)
        for words in [["inspect", "vmlinuz"], ["permute", "vmlinuz", "-o", "out"]] {
            #expect(try await refused(place, words) == message)
        }
    }

    @Test func inspects() async throws {
        let place = try await Workplace("sample")
        try await place.addVmlinuz(of: "sample")
        let (outer, inner) = (try await place.kperm("inspect", "vmlinuz"), try await place.kperm("inspect", "sample"))
        #expect(outer.status == 0 && outer.error.isEmpty)
        func lines(_ outcome: Outcome) -> [Substring] { outcome.output.split(separator: "\n") }
        #expect(lines(outer).dropFirst(4) == lines(inner).dropFirst(4))
        #expect(lines(outer)[1].hasPrefix("format:       bzImage (gzip, "))
        #expect(lines(outer)[3] == "KASLR:        no relocation lists")
        let json = try await place.kperm("inspect", "vmlinuz", "--json")
        let object = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        #expect(object?["kaslr"] as? String == "no relocation lists")
    }

    /// A seed for a kernel that draws at boot is wrong usage, whatever the file is.
    @Test(arguments: ["sample", "vmlinuz"], ["--seed \(Workplace.seed)", "--seed-file seed"])
    func seedAtBoot(image: String, seed: String) async throws {
        let place = try await Workplace("sample")
        try place.write(Array(Workplace.seed.utf8), to: "seed")
        try await place.addVmlinuz(of: "sample")
        let words = "permute \(image) -o out --when boot \(seed)".split(separator: " ").map(String.init)
        #expect(
            try await refused(place, words).hasPrefix(
                "a seed is for --when build; kperm.seed= on the kernel's command line is for one boot"))
    }

    @Test func tableFromMemory() async throws {
        let place = try await Workplace("permuted-segments")
        let binary = try await place.kperm("table", "permuted-segments", "--format", "bin", "-o", "table")
        #expect(binary.status == 0)
        let table = try place.bytes("table")
        let noise = (0..<200_001).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        try place.write(noise + table + noise, to: "dump")
        for format in ["json", "c", "asm"] {
            let known = try await place.kperm("table", "permuted-segments", "--format", format)
            let found = try await place.kperm("table", "--from-memory", "dump", "--format", format)
            #expect(found.status == 0 && found.error.isEmpty)
            #expect(found.output == known.output && !known.output.isEmpty)
        }
        #expect(try await place.kperm("table", "--from-memory", "dump", "--format", "bin", "-o", "out").status == 0)
        #expect(try place.bytes("out") == table)
        #expect(try place.mode("out") == "600")
        #expect(
            try await refused(place, ["table", "--from-memory", "dump", "-o", "dump"])
                == "dump: is the input: kperm never writes its input; give another name")

        try place.write(noise, to: "none")
        #expect(
            try await refused(place, ["table", "--from-memory", "none", "-o", "out2"])
                == "none: no translation table of a permuted kernel in it")
        var damaged = table
        damaged[100] ^= 1
        try place.write(noise + damaged, to: "damaged")
        #expect(
            try await refused(place, ["table", "--from-memory", "damaged"]).hasPrefix(
                "damaged: no translation table of a permuted kernel in it; one place looks like one, but: "))
        #expect(
            try await refused(place, ["table", "--from-memory", "missing"])
                == "missing: cannot open: No such file or directory")
    }

    @Test(arguments: ["table", "table sample --from-memory sample"]) func imageOrMemory(words: String) async throws {
        let place = try await Workplace("sample")
        let said = try await refused(place, words.split(separator: " ").map(String.init))
        #expect(said.hasPrefix("give a permuted image, or --from-memory FILE"))
    }
}

/// Debian's, permuted by the program.
@Suite(.enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set"))
struct DebianVmlinuzTests {
    @Test func permutedOnce() async throws {
        let place = try Workplace()
        try FileManager.default.copyItem(atPath: try await DebianVmlinuz.path(), toPath: place["vmlinuz"])
        let outcome = try await place.kperm("permute", "vmlinuz", "-o", "out", "--json")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        let object = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any]
        #expect(object?["when"] as? String == "boot")
        #expect(object?["seed"] as? String == "boot")
        #expect(try place.mode("out") == place.mode("vmlinuz"))

        #expect(
            try await refused(place, ["permute", "out", "-o", "again"]) == "out: already permuted; permute the original"
        )
        #expect(
            try await refused(place, ["verify", "out", "out"])
                == "out: is itself permuted: give the original of OUT first")
        #expect(
            try await refused(place, ["table", "out"]).hasPrefix("out: a vmlinuz has its table in the running kernel"))
        let inspected = try await place.kperm("inspect", "out")
        #expect(inspected.status == 0)
        #expect(inspected.output.contains("\npermuted:     drawn at every boot, granule 4K, kperm "))
    }
}
