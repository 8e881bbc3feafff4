// SPDX-License-Identifier: MIT

// What happens around a guest that never is: QEMU missing, QEMU refusing, and
// the guardian that must leave nothing behind. A shell stands in for QEMU.

import Addressing
import FoundationEssentials
import Glibc
import Testing

@testable import GuestCheck

struct BootTests {
    private func expectation() throws -> GuestExpectation {
        var expectation = try SyntheticGuest().expectation
        expectation.kernelPath = "/bin/sh"
        return expectation
    }

    @Test func emulatorMissing() async throws {
        var options = GuestOptions()
        options.emulator = "no-such-emulator"
        await #expect(throws: GuestError.programMissing("no-such-emulator")) {
            try await checkGuest(try expectation(), options: options)
        }
    }

    @Test func kernelMissing() async throws {
        var expectation = try expectation()
        expectation.kernelPath = "/no/such/kernel"
        var options = GuestOptions()
        options.emulator = "sh"
        // It ends at once, but hundreds of tests may stand in its way.
        options.timeout = 1000
        await #expect(throws: GuestError.system(operation: "read", path: "/no/such/kernel", errno: ENOENT)) {
            try await checkGuest(expectation, options: options)
        }
    }

    /// `sh -nodefaults ...` ends at once with an error of its own, which is passed on.
    @Test func emulatorRefuses() async throws {
        var options = GuestOptions()
        options.emulator = "sh"
        // It ends at once, but hundreds of tests may stand in its way.
        options.timeout = 1000
        do {
            _ = try await checkGuest(try expectation(), options: options)
            Issue.record("a shell was taken for QEMU")
        } catch GuestError.emulatorFailed(let words) {
            #expect(words.contains("sh"))
        }
    }

    @Test func guardianLeavesNothingBehind() async throws {
        let directory = try makeTemporaryDirectory()
        let process = "\(directory).pid"
        defer { try? FileManager.default.removeItem(atPath: process) }
        let words = try await Guardian.with(
            directory: directory, command: ["/bin/sh", "-c", "echo $$ >\(process); echo hello; exec sleep 600"]
        ) { guardian throws(GuestError) in
            try await guardian.start()
            while guardian.lastWords.isEmpty { await Task.yield() }
            return guardian.lastWords
        }
        #expect(words == "hello")
        #expect(!fileExists(directory))
        let text = String(decoding: try readFile(process), as: UTF8.self)
        let identifier = try #require(Int32(text.split(separator: "\n").first ?? ""))
        #expect(kill(identifier, 0) == -1 && errno == ESRCH)
    }

    /// Nothing was started yet when the preparation failed.
    @Test func guardianWithoutStart() async throws {
        let directory = try makeTemporaryDirectory()
        await #expect(throws: GuestError.cancelled) {
            try await Guardian.with(directory: directory, command: ["/bin/false"]) { _ throws(GuestError) -> Int in
                throw .cancelled
            }
        }
        #expect(!fileExists(directory))
    }
}
