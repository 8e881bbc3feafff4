// SPDX-License-Identifier: MIT

import FoundationEssentials
import Testing

@testable import GuestCheck

struct KernelModulesTests {
    private func module(_ name: String, depends: String, release: String = "6.1.0-t") -> KernelModule {
        let text = "\u{7f}ELF\0license=GPL\0depends=\(depends)\0retpoline=Y\0vermagic=\(release) SMP mod_unload \0"
        return KernelModule(name: name, bytes: Array(text.utf8))
    }

    @Test func informationIsRead() {
        let some = module("veth", depends: "a,b_c")
        #expect(some.dependencies == ["a", "b_c"])
        #expect(some.release == "6.1.0-t")
        #expect(module("lone", depends: "").dependencies.isEmpty)
        #expect(KernelModule(name: "empty", bytes: []).release == nil)
    }

    @Test func dependenciesComeFirstAndOnce() throws {
        let depends = ["net": "ring,failover", "blk": "ring", "ring": "core", "failover": "", "core": ""]
        var loaded: [KernelModule] = []
        for name in ["net", "blk"] {
            try KernelModules.resolve(name, into: &loaded) { module($0, depends: depends[$0] ?? "") }
        }
        #expect(loaded.map(\.name) == ["core", "ring", "failover", "net", "blk"])
    }

    @Test func directoryIsFoundBelow() throws {
        let base = try ModuleTree()
        #expect(KernelModules.directory(under: base.path, release: "6.1.0-t") == base.modules)
        #expect(KernelModules.directory(under: base.modules, release: "6.1.0-t") == base.modules)
        #expect(KernelModules.directory(under: base.path, release: "6.2") == nil)
    }

    /// The same module three times: as it is, through gzip and through xz; a fourth is damaged.
    @Test func compressedFilesAreRead() throws {
        let tree = try ModuleTree()
        let plain = module("core", depends: "").bytes
        try writeFile("\(tree.modules)/kernel/core.ko", plain)
        #expect(try KernelModules.decompress("\(tree.modules)/kernel/core.ko") == plain)
        for (name, bytes) in [("a.ko.gz", Self.gzip), ("b.ko.xz", Self.xz)] {
            try writeFile("\(tree.modules)/kernel/\(name)", bytes)
            let module = KernelModule(name: name, bytes: try KernelModules.decompress("\(tree.modules)/kernel/\(name)"))
            #expect(module.release == "6.1.0-t")
        }
        try writeFile("\(tree.modules)/kernel/c.ko.xz", Array(Self.xz.dropLast(30)))
        #expect(throws: GuestError.self) { try KernelModules.decompress("\(tree.modules)/kernel/c.ko.xz") }
    }

    @Test func wrongReleaseIsRefused() throws {
        let tree = try ModuleTree()
        try writeFile("\(tree.modules)/kernel/virtio_pci.ko", module("", depends: "a-core").bytes)
        let missing = GuestError.modules(path: tree.modules, problem: "no module a_core, which another one needs")
        #expect(throws: missing) { try KernelModules.load(from: tree.modules, release: "6.1.0-t") }
        try writeFile("\(tree.modules)/kernel/a-core.ko", module("", depends: "").bytes)
        for spelling in ["a_core", "a-core"] {
            try writeFile("\(tree.modules)/kernel/virtio_pci.ko", module("", depends: spelling).bytes)
            let loaded = try KernelModules.load(from: tree.modules, release: "6.1.0-t")
            #expect(loaded.map(\.name) == ["a_core", "virtio_pci"])
        }
        let wrong = GuestError.modules(
            path: "\(tree.modules)/kernel/virtio_pci.ko", problem: "made for Linux 6.1.0-t, the kernel is 6.2")
        #expect(throws: wrong) { try KernelModules.load(from: tree.modules, release: "6.2") }
    }

    private static let gzip: [UInt8] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x77, 0xf5, 0x71, 0x63, 0x48,
        0x49, 0x2d, 0x48, 0xcd, 0x4b, 0x29, 0xb6, 0x65, 0x28, 0x4b, 0x2d, 0xca, 0x4d, 0x4c, 0xcf, 0x4c,
        0xb6, 0x35, 0xd3, 0x33, 0xd4, 0x33, 0xd0, 0x2d, 0x51, 0x08, 0xf6, 0x0d, 0x50, 0x60, 0x00, 0x00,
        0x0d, 0xca, 0x8b, 0x9f, 0x24, 0x00, 0x00, 0x00,
    ]
    private static let xz: [UInt8] = [
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21, 0x01,
        0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x23, 0x7f, 0x45, 0x4c, 0x46, 0x00,
        0x64, 0x65, 0x70, 0x65, 0x6e, 0x64, 0x73, 0x3d, 0x00, 0x76, 0x65, 0x72, 0x6d, 0x61, 0x67, 0x69,
        0x63, 0x3d, 0x36, 0x2e, 0x31, 0x2e, 0x30, 0x2d, 0x74, 0x20, 0x53, 0x4d, 0x50, 0x20, 0x00, 0x00,
        0x0d, 0xca, 0x8b, 0x9f, 0x00, 0x01, 0x38, 0x24, 0x01, 0xed, 0x1a, 0x0b, 0x90, 0x42, 0x99, 0x0d,
        0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
    ]
}

/// `lib/modules/6.1.0-t/kernel` in a temporary directory that goes with the value.
private final class ModuleTree {
    let path: String
    let modules: String

    init() throws {
        path = try makeTemporaryDirectory()
        modules = "\(path)/lib/modules/6.1.0-t"
        try FileManager.default.createDirectory(atPath: "\(modules)/kernel", withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
