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
        let parts = [
            "bin/busybox\0", "the shell itself", "init\0", "#!/bin/busybox sh", "modules/a.ko\0", "b.ko\na.ko\n",
        ]
        for part in parts {
            #expect(archive.firstRange(of: Array(part.utf8)) != nil, "\(part)")
        }
    }

    /// Each check of the script must be one the host asks for, and the other way round.
    @Test(.enabled(if: (try? findProgram("busybox")) != nil)) func scriptReportsEveryCheck() async throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let exercise = try await PreparedExercise.make(.linux(release: nil), GuestOptions(), in: directory)
        let said = ExerciseScript.text.split(separator: "say ").dropFirst()
        let names = said.compactMap { $0.split(whereSeparator: \.isWhitespace).first.map(String.init) }
        #expect(Set(names).subtracting(["done"]) == Set(exercise.expected.keys))
        #expect(exercise.reducedBecause != nil)
        #expect(exercise.expected["virtio-blk"]??.utf8.count == 64)
    }
}
