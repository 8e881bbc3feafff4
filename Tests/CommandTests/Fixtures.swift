// SPDX-License-Identifier: MIT

// The files that every subcommand is tried on, made once a run: the sample
// kernel, what kperm makes of it, and files that are no kernel.

import Foundation
import Synchronization
import Testing

actor Fixtures {
    static let shared = Fixtures()

    /// One that does not exist is among them.
    static let names = [
        "sample", "permuted-segments", "permuted-contents", "stripped", "truncated", "text", "empty", "elf32",
        "aarch64",
        "missing",
    ]

    private var made: Task<Workplace, any Error>?

    func directory() async throws -> Workplace {
        if let made { return try await made.value }
        let task = Task { try await Self.make() }
        made = task
        return try await task.value
    }

    private static func make() async throws -> Workplace {
        let place = try Workplace()
        removeAtExit(place.path)
        func run(_ program: String, _ arguments: String...) async throws {
            let outcome = try await execute(program, arguments, in: place.path)
            try #require(outcome.status == 0, "\(program): \(outcome.error)")
        }
        try await run("\(checkout)/images/guest/build", place.path)
        try FileManager.default.moveItem(atPath: place["sample-x86_64"], toPath: place["sample"])
        for encoding in ["segments", "contents"] {
            try await run(
                product, "permute", "sample", "-o", "permuted-\(encoding)", "--encoding", encoding, "--seed",
                Workplace.seed)
        }
        try await run("llvm-objcopy", "--strip-all", "sample", "stripped")
        try place.write(Array(place.bytes("sample").prefix(300_000)), to: "truncated")
        try place.write(Array("This is no kernel.\n".utf8), to: "text")
        try place.write([], to: "empty")
        try FileManager.default.copyItem(atPath: "\(checkout)/Tests/Fixtures/transfers.txt", toPath: place["transfers"])
        for (name, bits, machine) in [("elf32", 32, "EM_386"), ("aarch64", 64, "EM_AARCH64")] {
            let yaml = """
                --- !ELF
                FileHeader: { Class: ELFCLASS\(bits), Data: ELFDATA2LSB, Type: ET_EXEC, Machine: \(machine), Entry: 0x1000 }
                ProgramHeaders: [ { Type: PT_LOAD, Flags: [ PF_R, PF_X ], VAddr: 0x1000, FirstSec: .text, LastSec: .text } ]
                Sections: [ { Name: .text, Type: SHT_PROGBITS, Flags: [ SHF_ALLOC, SHF_EXECINSTR ], Address: 0x1000, Content: "00000000" } ]
                Symbols: [ { Name: _text, Section: .text, Value: 0x1000 } ]

                """
            try place.write(Array(yaml.utf8), to: "yaml")
            try await run("yaml2obj", "yaml", "-o", name)
        }
        return place
    }
}

/// Removes a directory when the tests end.
private func removeAtExit(_ path: String) {
    leftover.withLock { $0 = path }
    atexit { leftover.withLock { try? FileManager.default.removeItem(atPath: $0) } }
}

private let leftover = Mutex("")
