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

    /// Modules of several orders are there once; a crash kernel and what starts it only where one is.
    @Test func modulesOnDemandAndCrashKernel() throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try writeFile("\(directory)/busybox", [])
        let modules = ["a", "b", "c"].map { KernelModule(name: $0, bytes: Array("module \($0)".utf8)) }
        try Initramfs.write(
            to: "\(directory)/initramfs", busybox: "\(directory)/busybox", modules: [modules[0]],
            onDemand: ["b": [modules[0], modules[1]], "c": [modules[0], modules[2]]],
            crashKernel: ["kernel": [1, 2, 3]])
        let archive = try readFile("\(directory)/initramfs")
        func count(_ text: String) -> Int { archive.ranges(of: Array(text.utf8)).count }
        #expect(["a", "b", "c"].map { count("module \($0)") } == [1, 1, 1])
        #expect(["modules/b.order\0", "a\nb\n", "modules/c.order\0", "a\nc\n"].allSatisfy { count($0) == 1 })
        #expect(["crash/kernel\0", "bin/kexec\0", "bin/probe\0"].allSatisfy { count($0) == 1 })
        try Initramfs.write(to: "\(directory)/plain", busybox: "\(directory)/busybox", modules: [])
        #expect(try readFile("\(directory)/plain").firstRange(of: Array("bin/kexec".utf8)) == nil)
    }

    /// Each check of the script must be one the host asks for, and the other way round.
    @Test(.enabled(if: (try? findProgram("busybox")) != nil), arguments: ExerciseExtent.allCases)
    func scriptReportsEveryCheck(extent: ExerciseExtent) async throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var options = GuestOptions()
        options.exercise = extent
        let exercise = try await PreparedExercise.make(.linux(release: nil), options, in: directory)
        let said = ["say ", "nap ", "probe "].flatMap { ExerciseScript.text(extent).split(separator: $0).dropFirst() }
        let names = said.compactMap { $0.split(whereSeparator: \.isWhitespace).first.map(String.init) }
        let notes = ["pass", "fail", "skip", "done", "asleep", "awake", "hibernating", "resuming", "crashing"]
        let reported = Set(names.filter { $0.allSatisfy { $0.isLowercase || $0 == "-" } }).subtracting(notes)
        #expect(reported == Set(exercise.expected.keys))
        #expect((exercise.dump != nil) == extent.crashes)
        #expect(exercise.reducedBecause != nil)
        #expect(exercise.expected["virtio-blk"]??.utf8.count == 64)
    }
}
