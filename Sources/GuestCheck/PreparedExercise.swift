// SPDX-License-Identifier: MIT

// The files a Linux guest works on, and what the host knows about them: a
// random disk and a random file to fetch, whose digests only the host has.

import Glibc

struct PreparedExercise {
    /// The checks that must be reported; with the detail the guest must report, where the host knows it.
    var expected: [String: String?] = [:]
    var reducedBecause: String?

    /// Writes what the guest needs into `directory`.
    static func make(
        _ userspace: Userspace, _ options: GuestOptions, in directory: String
    ) async throws(GuestError) -> PreparedExercise {
        guard case .linux(let release) = userspace else { return PreparedExercise() }
        let busybox = try findProgram(options.busybox)
        if try readFile(busybox).prefix(4096).firstRange(of: Array("/ld-".utf8)) != nil {
            throw .programMissing("a statically linked busybox (\(busybox) is not; package busybox-static)")
        }
        var exercise = PreparedExercise()
        for name in ["userspace", "announced", "forks", "vdso", "modules", "ftrace", "kprobe"] {
            exercise.expected.updateValue(nil, forKey: name)
        }
        exercise.expected["cpus"] = "\(options.cpus)"

        let modules = try modules(options, release, &exercise)
        try Initramfs.write(to: "\(directory)/initramfs", busybox: busybox, modules: modules)
        if !modules.isEmpty { exercise.expected["modules"] = "\(modules.count)" }

        let shared = "\(directory)/tftp"
        guard unsafe mkdir(shared, 0o700) == 0 else { throw .system(operation: "create", path: shared, errno: errno) }
        let files = [("virtio-blk", "\(directory)/disk", 4 << 20), ("virtio-net", "\(shared)/random", 1 << 20)]
        for (name, path, size) in files {
            try writeFile(path, try readFile("/dev/urandom", limit: size))
            let digest = try await output(of: busybox, ["sha256sum", path]).prefix(64)
            exercise.expected[name] = String(digest)
        }
        return exercise
    }

    /// The modules given, else the system's own; none, with the reason, when neither has this release's.
    private static func modules(
        _ options: GuestOptions, _ release: String?, _ exercise: inout PreparedExercise
    ) throws(GuestError) -> [KernelModule] {
        if let given = options.modulesDirectory {
            guard let directory = KernelModules.directory(under: given, release: release) else {
                throw .modules(path: given, problem: "no kernel modules of \(release ?? "any release") here")
            }
            return try KernelModules.load(from: directory, release: release)
        }
        if let release, let directory = KernelModules.directory(under: "/lib/modules/\(release)", release: nil) {
            return try KernelModules.load(from: directory, release: release)
        }
        let kernel = release.map { "Linux \($0)" } ?? "the kernel's release"
        exercise.reducedBecause = "no modules of \(kernel) were given, and this system has none"
        return []
    }
}
