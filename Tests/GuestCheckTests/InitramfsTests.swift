// SPDX-License-Identifier: MIT

import FoundationEssentials
import Testing

@testable import GuestCheck

struct InitramfsTests {
    @Test func holdsWhatTheGuestNeeds() throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try writeFile("\(directory)/busybox", Array("the shell itself".utf8))
        let modules = ["b", "a"].map { KernelModule(name: $0, bytes: Array("module \($0)".utf8)) }
        try Initramfs.write(to: "\(directory)/initramfs", busybox: "\(directory)/busybox", modules: modules)
        let archive = try readFile("\(directory)/initramfs")
        #expect(archive.starts(with: Array("070701".utf8)), "newc, which the kernel reads")
        for part in ["bin/busybox\0", "the shell itself", "init\0", "#!/bin/busybox sh", "modules/a.ko\0", "b.ko\na.ko\n"] {
            #expect(archive.firstRange(of: Array(part.utf8)) != nil, "\(part)")
        }
    }

    /// Each check of the script must be one the host asks for, and the other way round.
    @Test func scriptReportsEveryCheck() async throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let exercise: PreparedExercise
        do {
            exercise = try await PreparedExercise.make(.linux(release: nil), GuestOptions(), in: directory)
        } catch GuestError.programMissing {
            return
        }
        let said = ExerciseScript.text.split(separator: "say ").dropFirst().compactMap { $0.split(separator: " ").first }
        #expect(Set(said.map(String.init)).subtracting(["done\nwhile"]) == Set(exercise.expected.keys))
        #expect(exercise.reducedBecause != nil)
        #expect(exercise.expected["virtio-blk"]??.utf8.count == 64)
    }
}
