// SPDX-License-Identifier: MIT

// The subcommands on a flat riscv64 Image.

import Foundation
import TestSupport
import Testing

struct FlatCommandTests {
    private func place(_ sample: FlatSample = FlatSample()) throws -> Workplace {
        let place = try Workplace()
        try place.write(sample.bytes, to: "Image")
        return place
    }

    private func permuted(_ options: String...) async throws -> Workplace {
        let place = try place()
        let arguments = ["permute", "Image", "-o", "out"] + options
        let outcome = try await place.kperm(arguments)
        try #require(outcome.status == 0, "\(outcome.error)")
        return place
    }

    private struct Table: Decodable {
        let forward: [Int]
        let inverse: [Int]
        let physicalBase: String
        let virtualBase: String
    }

    @Test(arguments: [[], ["--cross-class"]]) func provedUndoneAndTranslated(options: [String]) async throws {
        let place = try place()
        let drawn = try await place.kperm(["permute", "Image", "-o", "out", "--seed", Workplace.seed] + options)
        #expect(drawn.status == 0 && drawn.output.contains("permuted:     yes"), "\(drawn.error)")
        #expect(try place.mode("out") == "600")
        #expect(try await place.kperm("verify", "Image", "out").status == 0)
        #expect(try await place.kperm("restore", "out", "-o", "back").status == 0)
        #expect(try place.bytes("back") == place.bytes("Image"))

        let json = try await place.kperm("table", "out", "--physical-base", "0x80200000")
        let table = try JSONDecoder().decode(Table.self, from: Data(json.output.utf8))
        #expect(table.physicalBase == "0x80200000" && table.virtualBase == "0xffffffff80000000")
        let bytes = try place.bytes("out")
        func number(_ at: Int) -> Int {
            Int(Int32(truncatingIfNeeded: (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) }))
        }
        for page in 0..<FlatSample.pages {
            #expect(table.forward[page] == page + number(FlatSample.forward + 4 * page) / 4096)
            #expect(table.inverse[table.forward[page]] == page)
        }
        for page in [0, 3, 16, 30] {
            let virtual = "0x" + String(FlatSample.virtualBase + UInt64(page * 4096 + 0x123), radix: 16)
            let physical = "0x" + String(0x8020_0000 + table.forward[page] * 4096 + 0x123, radix: 16)
            let base = ["--physical-base", "0x80200000"]
            let there = try await place.kperm(["translate", "out", virtual] + base)
            #expect(there.output == "\(virtual) \(physical)\n", "\(there.error)")
            let back = try await place.kperm(["translate", "out", "--reverse", physical] + base)
            #expect(back.output == "\(physical) \(virtual)\n", "\(back.error)")
        }
    }

    /// Proof fails with status 1 and a line that says where.
    @Test func notProved() async throws {
        let place = try await permuted("--seed", Workplace.seed)
        var bytes = try place.bytes("out")
        bytes[16 * 4096 + 5] ^= 1
        try place.write(bytes, to: "out")
        let outcome = try await place.kperm("verify", "Image", "out")
        #expect(outcome.status == 1 && outcome.output.contains("byte 5 of frame 16"))
    }

    /// The live table of a kernel, in a copy of its memory.
    @Test func tableFromMemory() async throws {
        let place = try await permuted("--seed", Workplace.seed)
        var running = FlatSample()
        running.bytes = try place.bytes("out")
        running.put(UInt32(1), at: FlatSample.descriptor + 0x4c)
        running.put(UInt64(0x8020_0000), at: FlatSample.descriptor + 0x50)
        try place.write([UInt8](repeating: 0, count: 0x5000) + running.bytes, to: "memory")
        let live = try await place.kperm("table", "--from-memory", "memory", "--format", "json")
        #expect(live.status == 0, "\(live.error)")
        let file = try await place.kperm("table", "out", "--physical-base", "0x80200000")
        let seen = try JSONDecoder().decode(Table.self, from: Data(live.output.utf8))
        let wanted = try JSONDecoder().decode(Table.self, from: Data(file.output.utf8))
        #expect(seen.forward == wanted.forward && seen.inverse == wanted.inverse)
        #expect(seen.physicalBase == "0x80200000")
        running.put(Int32(5), at: FlatSample.forward + 4 * 3)
        try place.write(running.bytes, to: "memory")
        let damaged = try await place.kperm("table", "--from-memory", "memory")
        #expect(damaged.status == 2 && damaged.error.contains("no translation table"))
    }

    @Test func refusals() async throws {
        let place = try await permuted("--when", "boot")
        let cases: [([String], String)] = [
            (["table", "Image"], "not permuted"),
            (["table", "out"], "draws its order at every boot"),
            (["translate", "out", "0xffffffff80000000"], "--from-memory"),
            (["table", "Image", "--physical-base", "12"], "not permuted"),
            (["permute", "out", "-o", "other"], "already permuted"),
            (["permute", "Image", "-o", "other", "--glue", "page:3-4"], "a flat Image says itself which pages stay"),
            (["boot", "out", "--modules", "."], "it takes no --kexec"),
            (["boot", "out", "--exercise", "full"], "it takes no --kexec"),
            (["boot", "out", "--audit"], "it takes no --kexec"),
            (["boot", "out", "--initramfs", "nowhere"], "nowhere"),
            (["boot", "Image", "--repeat", "2"], "not permuted"),
            (["boot", "out", "--log", "out"], "is the input"),
        ]
        for (arguments, message) in cases {
            let said = try await refused(place, arguments)
            #expect(said.contains(message), "\(arguments): \(said)")
        }
        let baked = try await permuted()
        #expect(try await refused(baked, ["translate", "out", "start_kernel"]).contains("names nothing"))
        #expect(try await refused(baked, ["translate", "out", "0x1000"]).contains("outside the image"))
        #expect(try await refused(baked, ["table", "out", "--physical-base", "0x123"]).contains("address of a page"))
        let other = try await Workplace("sample")
        #expect(try await refused(other, ["boot", "sample", "--initramfs", "sample"]).contains("not a flat Image"))
    }

    @Test func imagesThatCannotBe() async throws {
        var small = FlatSample()
        small.put(UInt32(20), at: FlatSample.descriptor + 0x20)
        #expect(
            try await refused(place(small), ["permute", "Image", "-o", "out"]).contains(
                "a table of 20 entries is too small for 32 pages"))
        var without = FlatSample()
        without.bytes[FlatSample.descriptor] = 0
        for command in [["inspect", "Image"], ["permute", "Image", "-o", "out"], ["boot", "Image"]] {
            #expect(try await refused(place(without), command).contains("build it with tools/build-riscv64"))
        }
        var cut = FlatSample()
        cut.bytes.removeLast(10 * 4096)
        #expect(try await refused(place(cut), ["inspect", "Image"]).contains("outside the file"))
        var silent = FlatSample()
        silent.put(UInt32(0), at: FlatSample.descriptor + 0x74)
        #expect(
            try await refused(place(silent), ["boot", "Image"]).contains("does not say where its first function lies"))
    }
}
