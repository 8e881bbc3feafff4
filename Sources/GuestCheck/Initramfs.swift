// SPDX-License-Identifier: MIT

// The guest's whole file system: busybox, one script, the modules. Made at run
// time, so that nothing binary lies in the repository and the modules are
// those of the kernel at hand.

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

    /// Writes the file system of the exercise.
    static func write(to path: String, busybox: String, modules: [KernelModule]) throws(GuestError) {
        let image = try Initramfs(path: path)
        for directory in ["bin", "dev", "proc", "sys", "modules"] { try image.add(directory, S_IFDIR | 0o755) }
        try image.add("dev/console", S_IFCHR | 0o600, device: (5, 1))
        try image.add("bin/busybox", S_IFREG | 0o755, try readFile(busybox))
        try image.add("init", S_IFREG | 0o755, Array(ExerciseScript.text.utf8))
        for module in modules { try image.add("modules/\(module.name).ko", S_IFREG | 0o644, module.bytes) }
        if !modules.isEmpty {
            let order = modules.map { "\($0.name).ko\n" }.joined()
            try image.add("modules/order", S_IFREG | 0o644, Array(order.utf8))
        }
        guard unsafe archive_write_close(image.archive) == ARCHIVE_OK else {
            throw .system(operation: "write", path: path, errno: unsafe archive_errno(image.archive))
        }
    }
}
