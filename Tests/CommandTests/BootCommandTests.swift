// SPDX-License-Identifier: MIT

// `kperm boot` on guests that are wrong, slow or not there. A failed boot is
// exit status 1, with its log kept; a boot that cannot begin is 2.

import Foundation
import Testing

struct BootCommandTests {
    /// Where the log was kept, by the one line on stderr.
    private func failed(_ place: Workplace, _ arguments: [String]) async throws -> Outcome {
        let outcome = try await place.kperm(arguments)
        #expect(outcome.status == 1)
        #expect(outcome.error.count { $0 == "\n" } == 1)
        let image = arguments[1]
        #expect(outcome.error.hasPrefix("kperm: \(image): 1 of 1 boots failed; the log is kept: "))
        let log = outcome.error.dropLast().split(separator: ": ").last.map(String.init) ?? ""
        #expect(FileManager.default.fileExists(atPath: log.hasPrefix("/") ? log : place[log]))
        #expect(outcome.output.contains("FAILED in "))
        if !log.hasPrefix(place.path) && log.hasPrefix("/") { try FileManager.default.removeItem(atPath: log) }
        return outcome
    }

    /// Two frames swapped where the loader reads them: the kernel's pages lie in each other's place.
    @Test func physicalAddressesSwapped() async throws {
        let place = try await Workplace("permuted-segments")
        var bytes = try place.bytes("permuted-segments")
        let headers = Int(bytes.number(32, bytes: 8))
        let count = Int(bytes.number(56, bytes: 2))
        func field(_ header: Int, _ offset: Int) -> UInt64 { bytes.number(headers + 56 * header + offset, bytes: 8) }
        let single = (0..<count).filter { field($0, 32) == 4096 && bytes.number(headers + 56 * $0, bytes: 4) == 1 }
        let (a, b) = (headers + 56 * single[5] + 24, headers + 56 * single[9] + 24)
        for i in 0..<8 { bytes.swapAt(a + i, b + i) }
        try place.write(bytes, to: "swapped")
        let outcome = try await failed(place, ["boot", "swapped", "--timeout", "20"])
        #expect(outcome.output.contains("fail stub-bytes"))
    }

    /// Endless loops before the stub and behind it.
    @Test(arguments: [0x1000, 0x97000]) func neverReachesUserspace(offset: Int) async throws {
        let place = try await Workplace("sample")
        var bytes = try place.bytes("sample")
        bytes.replaceSubrange(offset..<offset + 2, with: [0xeb, 0xfe])
        try place.write(bytes, to: "hangs")
        let outcome = try await failed(place, ["boot", "hangs", "--timeout", "10"])
        #expect(outcome.output.contains("fail boot: "))
    }

    /// An instrumented kernel notes the one address that the sample translates: open, unless its page is pinned.
    @Test func auditNotesWhatIsTranslated() async throws {
        let place = try await Workplace("sample")
        let open = try await place.kperm("boot", "sample", "--audit")
        #expect(open.status == 1)
        #expect(open.error == "kperm: sample: 1 translations of what may move have no explanation\n")
        #expect(open.output.contains("translation sites: 1, 1 observed, 0 "))
        #expect(open.output.contains("  open linear_physical: filler_data ("))
        #expect(try place.files == ["sample"])
        let pinned = try await place.kperm("permute", "sample", "-o", "pinned", "--pin", "filler_data")
        #expect(pinned.status == 0)
        let seen = try await place.kperm("boot", "pinned", "--audit", "--json")
        #expect(seen.status == 0)
        #expect(
            seen.output.contains(#""end" : "pinned""#) && seen.output.contains(#""evidence" : "--pin filler_data""#))
        #expect(try await refused(place, ["boot", "sample", "--audit", "--repeat", "2"]).contains("--audit"))
    }

    /// Where translations ask the table, the frame that comes out must be the page's: an emulator that is given another
    /// table than the image has shows. The sample itself wants the linear address, and fails with any.
    @Test func auditHoldsLookupsAgainstTheOrder() async throws {
        let place = try await Workplace("sample")
        let says = "lookups: 1 places ask the table; 1 translations in all, 1 of pages that moved, "
        var right = ""
        for _ in 0..<6 where !right.contains("\(says)0 wrong\n") {
            right = try await place.kperm("boot", "sample", "--audit", "--rewrite").output
        }
        #expect(right.contains("\(says)0 wrong\n"), "\(right)")
        #expect(right.contains("  right linear_physical: filler_data ("))
        let shifted = """
            #!/usr/bin/env python3
            import os, struct, sys
            words = sys.argv[1:]
            image = words.index("-kernel") + 1
            data = bytearray(open(words[image], "rb").read())
            numbers = struct.unpack("<%dq" % (len(data) // 8), data[:len(data) // 8 * 8])
            for end in range(101, len(numbers)):
                pages = numbers[end]
                if numbers[end - 1] == 0 and 100 < pages < 1000:
                    table = numbers[end - 1 - pages:end - 1]
                    if sum(map(bool, table)) > 50 and all(word % 4096 == 0 for word in table):
                        struct.pack_into("<%dq" % pages, data, 8 * (end - 1 - pages), *(w + 4096 for w in table))
            open("shifted", "wb").write(data)
            words[image] = "shifted"
            os.execvp("qemu-system-x86_64", ["qemu-system-x86_64"] + words)

            """
        try place.write(Array(shifted.utf8), to: "emulator")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: place["emulator"])
        let wrong = try await place.kperm("boot", "sample", "--audit", "--rewrite", "--qemu", "./emulator")
        #expect(wrong.status == 1)
        #expect(wrong.output.contains(", 1 wrong\n") && wrong.output.contains("  wrong linear_physical: filler_data ("))
        #expect(try await refused(place, ["boot", "sample", "--rewrite"]).contains("--rewrite goes with --audit"))
    }

    /// An exercise that an image cannot do is refused, not left out.
    @Test(arguments: [("crash", "not a vmlinuz"), ("hibernation", "not Linux"), ("full", "not Linux")])
    func exerciseThatCannotBe(exercise: String, reason: String) async throws {
        let place = try await Workplace("permuted-segments")
        let outcome = try await place.kperm("boot", "permuted-segments", "--exercise", exercise)
        #expect(outcome.status == 2)
        #expect(outcome.error.hasPrefix("kperm: permuted-segments: \(reason): "))
    }

    @Test func logIsKeptWhereAsked() async throws {
        let place = try await Workplace("permuted-segments")
        let outcome = try await place.kperm("boot", "permuted-segments", "--log", "console", "--json")
        #expect(outcome.status == 0)
        let log = String(decoding: try place.bytes("console"), as: UTF8.self)
        #expect(log.contains("kperm-exercise: done"))
        #expect(try place.files == ["console", "permuted-segments"])
    }

    /// QEMU writes the log, so kperm must see to it that it does not write the image.
    @Test(arguments: ["sample", "permuted-segments"]) func logIsNeverTheInput(name: String) async throws {
        let place = try await Workplace(name)
        let before = try place.bytes(name)
        try FileManager.default.linkItem(atPath: place[name], toPath: place["hard"])
        for log in [name, "hard"] {
            let said = try await refused(place, ["boot", name, "--log", log])
            #expect(said == "\(log): is the input: kperm never writes its input; give another name")
            #expect(try place.bytes(name) == before)
        }
        let said = try await refused(place, ["boot", name, "--log", "/dev/null"])
        #expect(said == "/dev/null: exists and is not a regular file")
    }

    @Test(arguments: ["/nonexistent", "no-such-emulator"]) func noEmulator(name: String) async throws {
        let place = try await Workplace("sample", "permuted-segments")
        for image in ["sample", "permuted-segments"] {
            let said = try await refused(place, ["boot", image, "--qemu", name])
            #expect(said.contains(name))
        }
    }

    @Test func emulatorRefuses() async throws {
        let place = try await Workplace("sample")
        let said = try await refused(place, ["boot", "sample", "--cpu", "no-such-cpu"])
        #expect(said.contains("no-such-cpu"))
    }
}

extension [UInt8] {
    fileprivate func number(_ offset: Int, bytes: Int) -> UInt64 {
        self[offset..<offset + bytes].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
