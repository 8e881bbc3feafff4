// SPDX-License-Identifier: MIT

// Writing: never over the input, never half, never readable by others when it
// is a secret.

import Foundation
import Testing

struct OutputTests {
    private static let sentence = ": is the input: kperm never writes its input; give another name"

    @Test(arguments: ["sample", "./sample", "symbolic", "hard"]) func neverOverTheInput(name: String) async throws {
        let place = try await Workplace("sample")
        try FileManager.default.createSymbolicLink(atPath: place["symbolic"], withDestinationPath: "sample")
        try FileManager.default.linkItem(atPath: place["sample"], toPath: place["hard"])
        let before = try place.bytes("sample")
        #expect(try await refused(place, ["permute", "sample", "-o", name]) == name + Self.sentence)
        #expect(try place.bytes("sample") == before)
    }

    @Test(arguments: ["restore", "table"]) func othersNeverOverTheInput(command: String) async throws {
        let place = try await Workplace("permuted-segments")
        let before = try place.bytes("permuted-segments")
        let said = try await refused(place, [command, "permuted-segments", "-o", "permuted-segments"])
        #expect(said == "permuted-segments" + Self.sentence)
        #expect(try place.bytes("permuted-segments") == before)
    }

    @Test(arguments: [
        ("no/out", "cannot create: No such file or directory"), ("text/out", "cannot create: Not a directory"),
        (".", "exists and is not a regular file"), ("/dev/full", "exists and is not a regular file"),
        ("/proc/out", "cannot create: No such file or directory"),
    ])
    func nowhereToWrite(path: String, message: String) async throws {
        let place = try await Workplace("sample", "text")
        #expect(try await refused(place, ["permute", "sample", "-o", path]) == "\(path): \(message)")
    }

    @Test(.enabled(if: getuid() != 0, "root may write anywhere")) func directoryNotWritable() async throws {
        let place = try await Workplace("sample")
        try FileManager.default.createDirectory(atPath: place["closed"], withIntermediateDirectories: false)
        try FileManager.default.setAttributes([.posixPermissions: 0o555], ofItemAtPath: place["closed"])
        #expect(
            try await refused(place, ["permute", "sample", "-o", "closed/out"])
                == "closed/out: cannot create: Permission denied")
    }

    /// A limit on the size of files stands for a full disk; the old file stays.
    @Test(arguments: ["segments", "contents"]) func noRoom(encoding: String) async throws {
        let place = try await Workplace("sample")
        try place.write([1, 2, 3], to: "out")
        let before = try place.files
        let script = #"trap '' XFSZ; ulimit -f 600; exec "$@""#
        let command = [product, "permute", "sample", "-o", "out", "--encoding", encoding]
        let outcome = try await execute("sh", ["-c", script, "sh"] + command, in: place.path)
        #expect(outcome.status == 2)
        #expect(outcome.error == "kperm: out: cannot write: File too large\n")
        #expect(try place.files == before)
        #expect(try place.bytes("out") == [1, 2, 3])
    }

    /// A refusal leaves what had the name before; success replaces it, and only its owner may read it.
    @Test func replacesOnlyWhenDone() async throws {
        let place = try await Workplace("sample", "text", "permuted-segments")
        try place.write([1, 2, 3], to: "out")
        _ = try await refused(place, ["permute", "text", "-o", "out"])
        #expect(try place.bytes("out") == [1, 2, 3])
        #expect(try place.mode("out") == "644")
        #expect(try await place.kperm("permute", "sample", "-o", "out").status == 0)
        #expect(try place.mode("out") == "600")
        try place.write([1, 2, 3], to: "table")
        #expect(try await place.kperm("table", "permuted-segments", "-o", "table", "--format", "bin").status == 0)
        #expect(try place.mode("table") == "600")
        #expect(try place.bytes("table").prefix(8).elementsEqual("KPERMTBL".utf8))
        #expect(try place.files == ["out", "permuted-segments", "sample", "table", "text"])
    }

    /// Whatever the user's mask allows, and whatever had the name before.
    @Test func secretsAreTheirOwnersAlone() async throws {
        let place = try await Workplace("sample", "permuted-segments")
        func unmasked(_ words: String) async throws {
            let script = #"umask 0; exec "$@""#
            let arguments = ["-c", script, "sh", product] + words.split(separator: " ").map(String.init)
            let outcome = try await execute("sh", arguments, in: place.path)
            try #require(outcome.status == 0, "\(outcome.error)")
        }
        for name in ["segments", "contents"] {
            try await unmasked("permute sample -o \(name) --encoding \(name)")
            #expect(try place.mode(name) == "600")
        }
        for format in ["json", "bin", "c", "asm"] {
            try place.write([1], to: format)
            try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: place[format])
            try await unmasked("table permuted-segments --format \(format) -o \(format)")
            #expect(try place.mode(format) == "600")
        }
    }

    @Test(arguments: [0o600, 0o640, 0o644, 0o400]) func originalIsReadByWhoMayReadTheImage(mode: Int) async throws {
        let place = try await Workplace("permuted-segments")
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: place["permuted-segments"])
        #expect(try await place.kperm("restore", "permuted-segments", "-o", "out").status == 0)
        #expect(try place.mode("out") == String(mode, radix: 8))
    }

    @Test(arguments: ["segments", "contents"]) func sameSeedSameBytes(encoding: String) async throws {
        let place = try await Workplace("sample", "permuted-\(encoding)")
        try place.write(Array("\(Workplace.seed)\n".utf8), to: "seed")
        let words = ["permute", "sample", "-o", "out", "--encoding", encoding, "--seed-file", "seed"]
        #expect(try await place.kperm(words).status == 0)
        #expect(try place.bytes("out") == place.bytes("permuted-\(encoding)"))
        #expect(try await place.kperm("restore", "out", "-o", "back").status == 0)
        #expect(try place.bytes("back") == place.bytes("sample"))
    }

    /// Without a seed each run draws afresh.
    @Test func freshSeedsDiffer() async throws {
        let place = try await Workplace("sample")
        for name in ["a", "b"] { #expect(try await place.kperm("permute", "sample", "-o", name).status == 0) }
        #expect(try place.bytes("a") != place.bytes("b"))
    }
}
