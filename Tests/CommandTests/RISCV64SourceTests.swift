// SPDX-License-Identifier: MIT

// Editing a Linux source tree for a kernel with permutable pages: places are found
// by name, and a tree that lacks one, or has it twice, is refused whole. The tree
// here is one of ours.

import Foundation
import Subprocess
import Testing

struct RISCV64SourceTests {
    /// The made-up tree, with one text replaced in one of its files.
    private func tree(
        _ place: Workplace, _ changed: String = "", _ old: String = "", _ new: String = ""
    ) throws -> [String: String] {
        let fixture = "\(checkout)/Tests/Fixtures/riscv64-source.txt"
        let parts = try String(contentsOfFile: fixture, encoding: .utf8).components(separatedBy: "\n==== ").dropFirst()
        var files: [String: String] = [:]
        for part in parts {
            let end = try #require(part.firstIndex(of: "\n"))
            let name = String(part[..<end])
            var text = String(part[part.index(after: end)...]) + "\n"
            if name == changed {
                try #require(text.contains(old))
                text = text.replacingOccurrences(of: old, with: new)
            }
            files[name] = text
            let path = place["linux/\(name)"]
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try text.write(toFile: path, atomically: true, encoding: .utf8)
        }
        return files
    }

    private func files(_ place: Workplace) throws -> Set<String> {
        let found = FileManager.default.enumerator(atPath: place["linux"])
        return Set(
            (found?.allObjects as? [String] ?? []).filter { name in
                var isDirectory: ObjCBool = false
                return unsafe FileManager.default.fileExists(atPath: place["linux/\(name)"], isDirectory: &isDirectory)
                    && !isDirectory.boolValue
            })
    }

    @Test func fits() async throws {
        let place = try Workplace()
        let before = try tree(place)
        let edited = try await execute("\(checkout)/images/riscv64/edit", ["linux"], in: place.path)
        #expect(edited.status == 0 && edited.output == "edited \(before.count) files\n", "\(edited.error)")
        for (name, text) in before {
            #expect(try String(contentsOfFile: place["linux/\(name)"], encoding: .utf8) != text, "\(name)")
        }
        let added = try files(place).subtracting(before.keys)
        #expect(added.isSuperset(of: ["arch/riscv/include/asm/kperm.h", "arch/riscv/kperm/table.S"]))
        let again = try await execute("\(checkout)/images/riscv64/edit", ["linux"], in: place.path)
        #expect(again.status == 2 && again.error.contains("has been edited before"))
    }

    /// What is missing or there too often, and how the error names it.
    @Test(arguments: [
        ("arch/riscv/include/asm/page.h", "__va_to_pa_nodebug", "other", "does not define __va_to_pa_nodebug"),
        (
            "arch/riscv/include/asm/sections.h", "is_va_kernel_lm", "is_va_other",
            "is_va_kernel_lm_alias_text(): expected one"
        ),
        (
            "arch/riscv/include/asm/set_memory.h", "1 << 21", "1 << 22",
            "expected SECTION_ALIGN of 2 MB once, found it 0 times"
        ),
        (
            "arch/riscv/mm/init.c", "__pa_symbol(c)", "c",
            "setup_bootmem(): expected __pa_symbol 3 times, found it 2 times"
        ),
        ("arch/riscv/mm/init.c", "BUG();", "BUG(); BUG();", "alloc_pte_early(): expected BUG() once, found it 2 times"),
        (
            "arch/riscv/mm/init.c", "nothing();", "pt_ops_set_early();",
            "setup_vm(): expected one such function, found 2"
        ),
        ("arch/riscv/mm/init.c", "hw_satp !=", "hw_satp ==", "set_satp_mode(): expected the test of hw_satp once"),
        ("arch/riscv/mm/Makefile", "init.o", "start.o", "does not build init.o"),
        ("arch/riscv/mm/pageattr.c", "is_kernel_mapping(start) ||", "", "__set_memory(): expected else if"),
        ("arch/riscv/kernel/setup.c", "lm_alias(__init_end)", "end", "free_initmem(): expected set_kernel_memory"),
        ("arch/riscv/kernel/vdso.c", "pfn + i", "pfn", "__vdso_init(): expected pfn_to_page(pfn + i) once"),
        ("mm/usercopy.c", "texthigh_linear", "high", "check_kernel_text_object(): expected texthigh_linear = once"),
        ("arch/riscv/kernel/head.S", "relocate_enable_mmu", "go", "setup_vm is not called between the two"),
        ("arch/riscv/kernel/vmlinux.lds.S", "_sinittext", "_start_init", "expected _sinittext once, found it 0 times"),
    ])
    func doesNotFit(file: String, old: String, new: String, message: String) async throws {
        let place = try Workplace()
        let before = try tree(place, file, old, new)
        let edited = try await execute("\(checkout)/images/riscv64/edit", ["linux"], in: place.path)
        #expect(edited.status == 2)
        #expect(edited.error.contains("linux/\(file)") && edited.error.contains(message), "\(edited.error)")
        #expect(edited.error.contains("nothing was changed"))
        #expect(try files(place) == Set(before.keys))
        for (name, text) in before {
            #expect(try String(contentsOfFile: place["linux/\(name)"], encoding: .utf8) == text, "\(name)")
        }
    }

    /// The build that such a source ends leaves nothing of itself in the cache, and no source is a clear error.
    @Test func nothingIsLeftOfABuildThatFails() async throws {
        let place = try Workplace()
        _ = try tree(place, "mm/usercopy.c", "texthigh_linear", "high")
        let packed = try await execute("tar", ["-cJf", "linux.tar.xz", "linux"], in: place.path)
        try #require(packed.status == 0, "\(packed.error)")
        let cache = place["cache"]
        for _ in 0..<2 {
            let built = try await execute(
                "\(checkout)/tools/build-riscv64", ["--source", place["linux.tar.xz"]], in: place.path,
                environment: ["KPERM_CACHE": cache])
            #expect(built.status == 2 && built.output.isEmpty)
            #expect(built.error.contains("mm/usercopy.c, check_kernel_text_object()"), "\(built.error)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(cache)/riscv64") == ["lock"])
        }
        let missing = try await execute(
            "\(checkout)/tools/build-riscv64", ["--source", "/nowhere.tar.xz"], in: place.path,
            environment: ["KPERM_CACHE": cache])
        #expect(missing.status == 2 && missing.error.contains("cannot read /nowhere.tar.xz"))
    }
}
