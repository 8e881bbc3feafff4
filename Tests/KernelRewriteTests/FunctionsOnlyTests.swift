// SPDX-License-Identifier: MIT

// Stock kernels as they would be without CONFIG_KALLSYMS_ALL: every name that is
// no function's is dropped, and what is recovered is held against what was there.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import Testing

@testable import KernelRewrite

@Suite(.serialized, .enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set"))
struct FunctionsOnlyTests {
    /// What an unpacked vmlinuz knows, and what it would know.
    private struct Tables {
        let all: SymbolTable
        let functions: SymbolTable

        init(_ image: borrowing KernelImage) throws {
            all = try #require(try image.kallsyms())
            let found = all.find(["_stext", "_etext", "_sinittext", "_einittext"], in: image).mapValues { $0[0].value }
            func range(_ start: String, _ end: String) throws -> ClosedRange<VirtualAddress> {
                try #require(found[start])...(try #require(found[end]))
            }
            functions = all.functions(in: [try range("_stext", "_etext"), try range("_sinittext", "_einittext")])
        }
    }

    /// Debian's flavours, and the vmlinuz files that KPERM_VMLINUZ names, separated by colons.
    private static let kernels =
        ["cloud", "generic", "rt"]
        + (ProcessInfo.processInfo.environment["KPERM_VMLINUZ"] ?? "").split(separator: ":").map(String.init)

    @Test(arguments: kernels) func sameKernel(flavour: String) throws {
        let kernel = try CompressedKernel.open(flavour.contains("/") ? flavour : try DebianVmlinuz.fetch(flavour))
        let tables = try Tables(kernel.kernel)
        #expect(tables.all.symbols.count > tables.functions.symbols.count + 30_000)
        let known = try X86_64.analyse(kernel.kernel, tables.all)
        let own = try X86_64.analyse(kernel.kernel, tables.functions)
        #expect(own.map.virtualRange == known.map.virtualRange)
        #expect(own.release == known.release)
        #expect(own.classes == known.classes)
        #expect(own.exclusions == known.exclusions)
        #expect(own.stubEnd == known.stubEnd && own.rootTable == known.rootTable)
        for name in Rules.allSymbols {
            let before = Set(known.symbols.all(name).map(\.address))
            let after = Set(own.symbols.all(name).map(\.address))
            guard !after.isEmpty else { continue }
            #expect(before.isSubset(of: after), "\(name): \(after) where \(before) was")
            if Rules.planSymbols.contains(name) { #expect(before == after, "\(name)") }
        }
        // What no rule gives is pinned as part of another object, or by its physical address.
        let missing = Rules.allSymbols.filter { own.symbols.all($0).isEmpty && !known.symbols.all($0).isEmpty }
        print("\(flavour): found without their names: \(missing.sorted())")
        let (pinned, pinnedByOwn) = (Set(known.pins.flatMap(\.pages)), Set(own.pins.flatMap(\.pages)))
        let lost = pinned.subtracting(pinnedByOwn).subtracting(known.exclusions.flatMap(\.pages))
        #expect(lost == [], "\(known.pins.filter { pin in lost.contains { pin.pages.contains($0) } })")
        let movable = Double(own.countedPages - own.pinnedPages) / Double(own.countedPages)
        print(
            "\(flavour): \(known.pinnedPages) pinned with all names, \(own.pinnedPages) with functions only, "
                + "\(own.countedPages) counted, \(100 * movable) % can move")
        #expect(movable >= 0.97)
        let request = Request(seedSource: "boot")
        let (a, b) = (
            try BootPlan.make(kernel, request, seed: nil, tool: "test", analysis: known),
            try BootPlan.make(kernel, request, seed: nil, tool: "test", analysis: own)
        )
        // The area holds what may move; all other bytes are the same.
        #expect(a.changes.dropFirst() == b.changes.dropFirst())
        #expect(a.remarks == b.remarks)
    }

    /// What has no use for a symbol any more cannot show where it is: with that code gone, the symbol is refused.
    @Test func refusesWhatNothingShows() throws {
        let original = try CompressedKernel.open(try DebianVmlinuz.fetch("cloud"))
        let table = try Tables(original.kernel).functions
        let names = ["__start_rodata", "__init_begin", "__bss_start", "_end", "__smp_locks", "__start_bss_decrypted"]
        let users = [
            "mark_rodata_ro": names[0], "free_initmem": names[1], "clear_bss": names[2], "__startup_64": names[3],
            "alternative_instructions": names[4], "mem_encrypt_free_decrypted_mem": names[5],
            "secondary_startup_64": "phys_base", "copy_bootdata": "boot_params", "startup_64": "early_top_pgt",
            "__early_make_pgtable": "early_dynamic_pgts", "early_ioremap_init": "bm_pte",
            "cleanup_highmap": "level2_kernel_pgt", "init_espfix_bsp": "espfix_pud_page",
        ]
        let found = table.find(Set(users.keys), in: original.kernel)
        let bytes = unsafe original.kernel.file.bytes.withUnsafeBytes { unsafe Array($0) }
        for (user, symbol) in users {
            // The cloud kernel has no 16-bit stacks to fix.
            guard let place = found[user]?.max(by: { $0.size < $1.size }) else { continue }
            let home = original.kernel.sections.first {
                $0.isExecutable && $0.address <= place.value && place.value < $0.end
            }
            let section = try #require(home)
            let start = Int(section.offset + (place.value - section.address))
            let memory = try OutputFile.inMemory("kernel")
            try memory.write(bytes, at: 0)
            try memory.write([UInt8](repeating: 0x90, count: Int(place.size)), at: start)
            let image = try memory.image()
            let said = refusal { () throws(RewriteError) in _ = try SymbolRecovery.complete(table, image) }
            #expect(
                said?.contains("KALLSYMS_ALL), and \(symbol) cannot be recovered: ") == true, "\(user): \(said ?? "no")"
            )
        }
        #expect(found.count >= 12)
    }

    /// Without the functions that show them, too.
    @Test func refusesWithoutUsers() throws {
        let kernel = try CompressedKernel.open(try DebianVmlinuz.fetch("cloud"))
        let table = try Tables(kernel.kernel).functions
        let text = try #require(table.find(["_text"], in: kernel.kernel)["_text"]?.first).value
        let said = refusal { () throws(RewriteError) in
            _ = try SymbolRecovery.complete(table.functions(in: [text...text]), kernel.kernel)
        }
        #expect(said?.hasSuffix("and there is no mark_rodata_ro to confirm it") == true, "\(said ?? "not refused")")
    }
}

/// Options that are built into a kernel, which the boot stub cannot see.
struct BuiltInWordsTests {
    private func remarks(_ config: String) throws -> (remarks: [String]?, refusal: String?) {
        let stream = try unsafe Codec.gzip.encode(Array(config.utf8), atMost: .max, original: [0].span.bytes)
        let bytes = Array("IKCFG_ST".utf8) + stream + Array("IKCFG_ED".utf8)
        let kernel = try SmallKernel(
            "FUNCTION(start): ret\n.section .other, \"a\"\n.byte \(bytes.map(String.init).joined(separator: ","))\n")
        var found: [String]?
        let said = refusal { () throws(RewriteError) in found = try BootPlan.builtInWords(kernel.image) }
        return (found, said)
    }

    @Test func areSeen() throws {
        let line = "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE="
        let (none, plain) = (try remarks("CONFIG_SMP=y\n"), try remarks(line + "\"quiet\"\n"))
        #expect(none.remarks == [] && plain.remarks == [])
        let over = try remarks(line + "\"quiet\"\nCONFIG_CMDLINE_OVERRIDE=y\n")
        #expect(over.remarks?.first?.hasPrefix("the kernel ignores the loader's command line") == true)
        for word in ["kperm=off", "kperm.seed=00"] {
            let said = try remarks(line + "\"quiet \(word)\"\n").refusal
            #expect(said?.contains("\(word) is built into the kernel (CONFIG_CMDLINE)") == true, "\(said ?? "no")")
        }
    }
}
