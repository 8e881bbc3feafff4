// SPDX-License-Identifier: MIT

// The files a Linux guest works on, and what the host knows about them: a
// random disk and a random file to fetch, whose digests only the host has.

import Glibc

struct PreparedExercise {
    /// The checks that must be reported; with the detail the guest must report, where the host knows it.
    var expected: [String: String?] = [:]
    var reducedBecause: String?
    /// Where the guest's dump will be, if it is to crash.
    var dump: String?

    /// Where the guest's second disk is, which it may write to.
    static func scratch(in directory: String) -> String { "\(directory)/scratch" }

    /// Writes what the guest needs into `directory`.
    ///
    /// - Parameter crashKernel: the vmlinuz to be started by a crash, if there is to be one.
    static func make(
        _ userspace: Userspace, _ options: GuestOptions, in directory: String, crashKernel: String? = nil
    ) async throws(GuestError) -> PreparedExercise {
        if case .given(let initramfs) = userspace { return try given(initramfs, options, in: directory) }
        guard case .linux(let release) = userspace else { return PreparedExercise() }
        let busybox = try staticBusybox(options)
        var exercise = PreparedExercise()
        let extent = options.exercise
        for name in extent.checks { exercise.expected.updateValue(nil, forKey: name) }
        if options.watchesTransfers { exercise.expected.updateValue(nil, forKey: Transfers.check) }
        exercise.expected["cpus"] = "\(options.cpus)"

        let source = try modulesDirectory(options, release, &exercise)
        var modules: [KernelModule] = []
        var onDemand: [String: [KernelModule]] = [:]
        var crashModules: [KernelModule] = []
        if let source {
            modules = try KernelModules.load(from: source, release: release)
            for name in SelfTests.modules + (extent.testsAtLength ? SelfTests.modulesAtLength : []) {
                let found = try KernelModules.find([name], in: source, release: release)
                if !found.isEmpty { onDemand[name] = found }
            }
            if options.watchesTransfers {
                let found = try KernelModules.find([Transfers.module], in: source, release: release)
                if !found.isEmpty { onDemand[Transfers.module] = found }
            }
            crashModules = try KernelModules.find(CrashDump.modules, in: source, release: release)
        }
        var crashFiles: [String: [UInt8]] = [:]
        if extent.crashes, let crashKernel {
            let path = "\(directory)/crash-initramfs"
            try Initramfs.write(to: path, busybox: busybox, modules: crashModules, script: CrashDump.script)
            let words = Machine.words + CrashDump.words + [options.extraCommandLine]
            crashFiles = [
                "kernel": try readFile(crashKernel), "initramfs": try readFile(path),
                "command-line": Array(words.joined(separator: " ").utf8),
            ]
        }
        try Initramfs.write(
            to: "\(directory)/initramfs", busybox: busybox, modules: modules,
            script: ExerciseScript.text(
                extent, isVmlinux: crashKernel == nil, watchesTransfers: options.watchesTransfers), onDemand: onDemand,
            crashKernel: crashFiles)
        if extent.needsScratch {
            let path = scratch(in: directory)
            if extent.crashes { exercise.dump = path }
            try writeFile(path, [])
            guard unsafe truncate(path, (options.memory + 64) << 20) == 0 else {
                throw .system(operation: "make a disk", path: path, errno: errno)
            }
        }
        if !modules.isEmpty { exercise.expected["modules"] = "\(modules.count)" }

        let shared = "\(directory)/tftp"
        guard unsafe mkdir(shared, 0o700) == 0 else { throw .system(operation: "create", path: shared, errno: errno) }
        let files = [("virtio-blk", "\(directory)/disk", 4 << 20), ("virtio-net", "\(shared)/random", 1 << 20)]
        for (name, path, size) in files {
            try writeFile(path, try readFile("/dev/urandom", limit: size))
            let digest = try await output(of: busybox, ["sha256sum", path]).prefix(64)
            exercise.expected[name] = String(digest)
            if name == "virtio-blk", options.watchesTransfers { exercise.expected[Transfers.module] = String(digest) }
        }
        return exercise
    }

    /// Links the caller's initramfs, or writes one of ours, and the disk that such a guest may read: each byte tells its
    /// place.
    private static func given(
        _ initramfs: String?, _ options: GuestOptions, in directory: String
    ) throws(GuestError) -> PreparedExercise {
        var exercise = PreparedExercise()
        if let initramfs {
            try writeFile("\(directory)/initramfs", try readFile(initramfs))
            exercise.expected["cpus"] = "\(options.cpus)"
        } else {
            try Initramfs.write(to: "\(directory)/initramfs", onlyProgram: IdleHelper.bytes)
            exercise.reducedBecause = "no initramfs was given, whose program exercises the kernel"
        }
        let disk = (0..<1 << 20).map { UInt8(truncatingIfNeeded: (UInt32($0) &* 2_654_435_761) >> 24) }
        try writeFile("\(directory)/disk", disk)
        return exercise
    }

    /// The modules given, else the system's own; none, with the reason, when neither has this release's.
    private static func modulesDirectory(
        _ options: GuestOptions, _ release: String?, _ exercise: inout PreparedExercise
    ) throws(GuestError) -> String? {
        if let given = options.modulesDirectory {
            guard let directory = KernelModules.directory(under: given, release: release) else {
                throw .modules(path: given, problem: "no kernel modules of \(release ?? "any release") here")
            }
            return directory
        }
        if let release, let directory = KernelModules.directory(under: "/lib/modules/\(release)", release: nil) {
            return directory
        }
        let kernel = release.map { "Linux \($0)" } ?? "the kernel's release"
        exercise.reducedBecause = "no modules of \(kernel) were given, and this system has none"
        return nil
    }
}

/// The busybox that a guest gets.
func staticBusybox(_ options: GuestOptions) throws(GuestError) -> String {
    let busybox = try findProgram(options.busybox)
    if try readFile(busybox).prefix(4096).firstRange(of: Array("/ld-".utf8)) != nil {
        throw .programMissing("a statically linked busybox (\(busybox) is not; package busybox-static)")
    }
    return busybox
}
