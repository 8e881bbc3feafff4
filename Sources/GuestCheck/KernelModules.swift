// SPDX-License-Identifier: MIT

// Which module files the exercise needs, in the order of loading. A module
// names what it depends on in its own `.modinfo` (`depends=a,b`), so no
// modules.dep is needed, and an unpacked package that depmod never saw will
// do. `vermagic=` begins with the release, which must be the kernel's.

import CArchive
import FoundationEssentials

/// One module as the guest gets it: no longer compressed.
public struct KernelModule: Equatable {
    var name: String
    var bytes: [UInt8]

    public init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    /// `depends=` and `vermagic=` of the module's `.modinfo`: strings that end in a zero byte.
    func information(_ key: String) -> String? {
        guard let start = bytes.firstRange(of: Array("\0\(key)=".utf8))?.upperBound,
            let end = bytes[start...].firstIndex(of: 0)
        else { return nil }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }

    var dependencies: [String] {
        (information("depends") ?? "").split(separator: ",").map { String($0).replacing("-", with: "_") }
    }
    /// What should be loaded before it though no symbol needs it (`softdep=pre: a b post: c`).
    var softDependencies: [String] {
        let words = (information("softdep") ?? "").split(separator: " ")
        guard let pre = words.firstIndex(of: "pre:") else { return [] }
        return words[(pre + 1)...].prefix { $0.last != ":" }.map { String($0).replacing("-", with: "_") }
    }
    /// Of the kernel it was made for, as `uname -r` prints it.
    public var release: String? { information("vermagic")?.split(separator: " ").first.map(String.init) }
}

enum KernelModules {
    /// The devices of the exercise, and a few that need no hardware.
    static let wanted = ["virtio_pci", "virtio_blk", "virtio_net", "dummy", "veth", "tun", "nf_tables", "overlay"]

    /// The directory of a release's modules, given a directory they are in or below.
    static func directory(under path: String, release: String?) -> String? {
        let below = release.map { name in ["lib/modules", "usr/lib/modules", "."].map { "\(path)/\($0)/\(name)" } }
        return ((below ?? []) + [path]).first { fileExists("\($0)/kernel") || fileExists("\($0)/modules.order") }
    }

    /// The wanted modules and all they depend on, dependencies first. A wanted one that is not there is left out.
    static func load(
        from directory: String, release: String?, _ wanted: [String] = wanted
    ) throws(GuestError) -> [KernelModule] {
        let loaded = try find(wanted, in: directory, release: release)
        guard !loaded.isEmpty else { throw .modules(path: directory, problem: "none of the modules wanted is here") }
        return loaded
    }

    /// The same, but there may be none.
    static func find(
        _ wanted: [String], in directory: String, release: String?
    ) throws(GuestError) -> [KernelModule] {
        let files = index(directory)
        var loaded: [KernelModule] = []
        func open(_ name: String) throws(GuestError) -> KernelModule {
            guard let path = files[name] else {
                throw .modules(path: directory, problem: "no module \(name), which another one needs")
            }
            let module = KernelModule(name: name, bytes: try decompress(path))
            if let release, let found = module.release, found != release {
                throw .modules(path: path, problem: "made for Linux \(found), the kernel is \(release)")
            }
            return module
        }
        for name in wanted where files[name] != nil {
            try resolve(name, into: &loaded, isThere: { files[$0] != nil }, open: open)
        }
        return loaded
    }

    /// Appends a module after all that it depends on, and after what should come before it where that is there. A soft
    /// dependency may be an algorithm, whose plain implementation is the module `NAME_generic`.
    static func resolve(
        _ name: String, into loaded: inout [KernelModule], isThere: (String) -> Bool = { _ in false },
        open: (String) throws(GuestError) -> KernelModule
    ) throws(GuestError) {
        if loaded.contains(where: { $0.name == name }) { return }
        let module = try open(name)
        let soft = module.softDependencies.compactMap { name in [name, name + "_generic"].first(where: isThere) }
        for dependency in soft + module.dependencies {
            try resolve(dependency, into: &loaded, isThere: isThere, open: open)
        }
        loaded.append(module)
    }

    /// Paths by module name; names have `_` where files may have `-`.
    private static func index(_ directory: String) -> [String: String] {
        var files: [String: String] = [:]
        for path in (try? FileManager.default.subpathsOfDirectory(atPath: directory)) ?? [] {
            let file = path.split(separator: "/").last ?? ""
            guard let end = file.firstRange(of: ".ko")?.lowerBound else { continue }
            files[String(file[..<end]).replacing("-", with: "_")] = "\(directory)/\(path)"
        }
        return files
    }

    /// A file's bytes through libarchive's filters: gzip, xz, zstd or none.
    static func decompress(_ path: String) throws(GuestError) -> [UInt8] {
        let archive = unsafe archive_read_new()
        defer { unsafe archive_read_free(archive) }
        unsafe archive_read_support_filter_all(archive)
        unsafe archive_read_support_format_raw(archive)
        var entry: OpaquePointer?
        guard unsafe archive_read_open_filename(archive, path, 1 << 16) == ARCHIVE_OK,
            unsafe archive_read_next_header(archive, &entry) == ARCHIVE_OK
        else { throw .modules(path: path, problem: "cannot be read") }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe archive_read_data(archive, &chunk, chunk.count)
            guard count >= 0 else { throw .modules(path: path, problem: "is damaged") }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }
}
