// SPDX-License-Identifier: MIT

// A guest's whole file system: busybox, one script, the modules; or, for the
// kernel that only starts another, what that one takes. Made at run time, so
// that the modules are those of the kernel at hand.

import CArchive
import Glibc

@safe struct Initramfs: ~Copyable {
    private let archive: OpaquePointer?
    private let path: String

    init(path: String) throws(GuestError) {
        self.path = path
        unsafe archive = archive_write_new()
        unsafe archive_write_set_format_cpio_newc(archive)
        guard unsafe archive_write_open_filename(archive, path) == ARCHIVE_OK else {
            throw .system(operation: "create", path: path, errno: errno)
        }
    }

    deinit { unsafe archive_write_free(archive) }

    private func add(
        _ name: String, _ mode: UInt32, _ bytes: [UInt8] = [], device: (major: UInt, minor: UInt) = (0, 0)
    ) throws(GuestError) {
        let entry = unsafe archive_entry_new()
        defer { unsafe archive_entry_free(entry) }
        unsafe archive_entry_set_pathname(entry, name)
        unsafe archive_entry_set_mode(entry, mode)
        unsafe archive_entry_set_size(entry, Int64(bytes.count))
        unsafe archive_entry_set_rdevmajor(entry, device.major)
        unsafe archive_entry_set_rdevminor(entry, device.minor)
        let written =
            unsafe archive_write_header(archive, entry) == ARCHIVE_OK
            && archive_write_data(archive, bytes, bytes.count) == bytes.count
        guard written else { throw .system(operation: "write", path: path, errno: unsafe archive_errno(archive)) }
    }

    private func addSystem(busybox: String, script: String) throws(GuestError) {
        for directory in ["bin", "dev", "proc", "sys", "modules"] { try add(directory, S_IFDIR | 0o755) }
        try add("dev/console", S_IFCHR | 0o600, device: (5, 1))
        try add("bin/busybox", S_IFREG | 0o755, try readFile(busybox))
        try add("init", S_IFREG | 0o755, Array(script.utf8))
    }

    private func finish() throws(GuestError) {
        guard unsafe archive_write_close(archive) == ARCHIVE_OK else {
            throw .system(operation: "write", path: path, errno: unsafe archive_errno(archive))
        }
    }

    /// Writes the file system of an exercise.
    ///
    /// - Parameters:
    ///   - modules: loaded at the start, in this order.
    ///   - onDemand: modules that the script loads itself, each with all it depends on.
    ///   - crashKernel: files under `crash`, by name.
    static func write(
        to path: String, busybox: String, modules: [KernelModule], script: String = ExerciseScript.text(.usual),
        onDemand: [String: [KernelModule]] = [:], crashKernel: [String: [UInt8]] = [:]
    ) throws(GuestError) {
        let image = try Initramfs(path: path)
        try image.addSystem(busybox: busybox, script: script)
        try image.add("bin/probe", S_IFREG | 0o755, ProbeHelper.bytes)
        try image.add("bin/expose", S_IFREG | 0o755, ExposeHelper.bytes)
        var orders = onDemand.mapValues { $0.map { "\($0.name)\n" }.joined() }
        if !modules.isEmpty { orders[""] = modules.map { "\($0.name).ko\n" }.joined() }
        for (name, order) in orders.sorted(by: { $0.key < $1.key }) {
            let file = name.isEmpty ? "order" : "\(name).order"
            try image.add("modules/\(file)", S_IFREG | 0o644, Array(order.utf8))
        }
        var added: Set<String> = []
        for module in modules + onDemand.sorted(by: { $0.key < $1.key }).flatMap(\.value)
        where added.insert(module.name).inserted {
            try image.add("modules/\(module.name).ko", S_IFREG | 0o644, module.bytes)
        }
        if !crashKernel.isEmpty {
            try image.add("bin/kexec", S_IFREG | 0o755, KexecHelper.bytes)
            try image.add("crash", S_IFDIR | 0o755)
        }
        for (name, bytes) in crashKernel.sorted(by: { $0.key < $1.key }) {
            try image.add("crash/\(name)", S_IFREG | 0o644, bytes)
        }
        try image.finish()
    }

    /// Writes the file system of a kernel that does nothing but run one program.
    static func write(to path: String, onlyProgram program: [UInt8]) throws(GuestError) {
        let image = try Initramfs(path: path)
        try image.add("dev", S_IFDIR | 0o755)
        try image.add("dev/console", S_IFCHR | 0o600, device: (5, 1))
        try image.add("init", S_IFREG | 0o755, program)
        try image.finish()
    }

    /// Writes the file system of a kernel that starts `kernel` with an initramfs and a command line.
    static func write(
        to path: String, busybox: String, starting kernel: String, initramfs: String, commandLine: String
    ) throws(GuestError) {
        let image = try Initramfs(path: path)
        try image.addSystem(busybox: busybox, script: Kexec.script)
        try image.add("bin/kexec", S_IFREG | 0o755, KexecHelper.bytes)
        try image.add("kernel", S_IFREG | 0o644, try readFile(kernel))
        try image.add("initramfs", S_IFREG | 0o644, try readFile(initramfs))
        try image.add("command-line", S_IFREG | 0o644, Array(commandLine.utf8))
        try image.finish()
    }
}
