// SPDX-License-Identifier: MIT

// Where a running kernel patches its own text and read-only data. A check that
// compares the bytes of a running kernel with the image needs to know these
// places exactly, or it could not tell a patched call from a page in the wrong
// frame. The kernel lists them itself, in tables between section markers; only
// their entry formats are knowledge of ours.

import Addressing
import Disassembly
import KernelImage

enum PatchSites {
    /// How a table names its places.
    private enum Entry {
        /// 64-bit virtual addresses, `length` bytes patched at each.
        case absolute(length: UInt64)
        /// 32-bit offsets relative to the field, one every `stride` bytes.
        case relative(stride: Int, length: UInt64)
        /// `struct paravirt_patch_site`: address, type, length, in 16 bytes.
        case paravirt
        /// `struct alt_instr`: relative address first, the two lengths last; 12 to 14 bytes.
        case alternative
    }

    private static let tables: [(start: String, end: String, entry: Entry)] = [
        ("__start_mcount_loc", "__stop_mcount_loc", .absolute(length: 5)),
        ("__start___jump_table", "__stop___jump_table", .relative(stride: 16, length: 5)),
        ("__start_static_call_sites", "__stop_static_call_sites", .relative(stride: 8, length: 6)),
        ("__start_static_call_tramp_key", "__stop_static_call_tramp_key", .relative(stride: 8, length: 8)),
        ("__retpoline_sites", "__retpoline_sites_end", .relative(stride: 4, length: 7)),
        ("__return_sites", "__return_sites_end", .relative(stride: 4, length: 5)),
        ("__call_sites", "__call_sites_end", .relative(stride: 4, length: 5)),
        ("__cfi_sites", "__cfi_sites_end", .relative(stride: 4, length: 16)),
        ("__ibt_endbr_seal", "__ibt_endbr_seal_end", .relative(stride: 4, length: 4)),
        ("__smp_locks", "__smp_locks_end", .relative(stride: 4, length: 1)),
        ("__parainstructions", "__parainstructions_end", .paravirt),
        ("__alt_instructions", "__alt_instructions_end", .alternative),
    ]

    /// Tables of which there is one a variable: `__start_runtime_ptr_dentry_hashtable`, say.
    private static let families: [(start: String, end: String, entry: Entry)] = [
        ("__start_runtime_ptr_", "__stop_runtime_ptr_", .relative(stride: 4, length: 8)),
        ("__start_runtime_shift_", "__stop_runtime_shift_", .relative(stride: 4, length: 1)),
    ]

    /// Read-only data that the kernel writes before it protects it, and the trampolines of static calls.
    private static let ranges = [
        ("__start_ro_after_init", "__end_ro_after_init"), ("__static_call_text_start", "__static_call_text_end"),
    ]

    /// Code rewritten at run time that no table lists.
    private static let functions = [
        "ftrace_call", "ftrace_regs_call", "ftrace_graph_call", "ftrace_epilogue", "ftrace_caller",
        "ftrace_regs_caller",
        "__x86_return_thunk", "__x86_indirect_thunk_*", "bpf_dispatcher_xdp_func",
    ]

    /// String literals in rodata that the kernel takes apart in place.
    private static let strings = [
        // The quirk for early Skylake servers hands resctrl's option parser a literal, and that calls strsep.
        "!cmt,!mbmtotal,!mbmlocal,!l3cat"
    ]

    static var symbols: Set<String> {
        Set(
            tables.flatMap { [$0.start, $0.end] } + families.flatMap { [$0.start + "*", $0.end + "*"] }
                + ranges.flatMap { [$0.0, $0.1] } + functions)
    }

    /// The places, ascending, overlapping ones merged.
    static func find(_ analysis: KernelAnalysis, _ image: borrowing KernelImage) -> [Range<VirtualAddress>] {
        var sites = BootArea.notes(analysis, image)
        for (start, end) in ranges {
            guard let start = analysis.symbols.optional(start)?.address,
                let end = analysis.symbols.optional(end)?.address,
                start < end
            else { continue }
            sites.append(start..<end)
        }
        if analysis.data.isBounded { sites += writtenAtStart(analysis, image) }
        let named = functions.flatMap { name in
            name.hasSuffix("*") ? analysis.symbols.names(beginning: String(name.dropLast())) : [name]
        }
        for name in named {
            for place in analysis.symbols.all(name) where place.size > 0 { sites.append(place.range) }
            // A label inside a function: the branch that stands there is patched.
            for place in analysis.symbols.all(name) where place.size == 0 {
                sites.append(place.address..<place.address + 5)
            }
        }
        let members = families.flatMap { family in
            analysis.symbols.names(beginning: family.start).map {
                (start: $0, end: family.end + $0.dropFirst(family.start.count), entry: family.entry)
            }
        }
        for table in tables + members {
            guard let start = analysis.symbols.optional(table.start)?.address,
                let end = analysis.symbols.optional(table.end)?.address, start < end,
                let bytes = analysis.map.bytes(at: start, count: Int(end - start), in: image)
            else { continue }
            unsafe read(bytes.span.bytes, at: start, table.entry, into: &sites)
        }
        sites += literals(analysis, image)
        return sites.mergedRanges
    }

    /// Read-only data from the first page that the init code stores into, which a kernel that names no data does not
    /// mark otherwise.
    private static func writtenAtStart(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage
    ) -> [Range<VirtualAddress>] {
        guard let rodata = image.section(named: ".rodata"), let code = image.section(named: ".init.text") else {
            return []
        }
        let decoder = Decoder(.x86Bits64)
        let bytes = image.file.bytes.extracting(Int(code.offset)..<Int(code.offset + code.size))
        var first = rodata.end
        var at = 0
        while at < bytes.byteCount {
            guard
                let instruction = decoder.decode(bytes.extracting(at..<bytes.byteCount), at: code.address + UInt64(at))
            else {
                at += 1
                continue
            }
            at += instruction.size
            guard instruction.mnemonic.hasPrefix("mov"), case .memory = instruction.operands.first,
                let target = instruction.relativeReference, rodata.address <= target, target < first
            else { continue }
            first = target
        }
        return [VirtualAddress(first.rawValue & ~UInt64(pageSize - 1))..<rodata.end]
    }

    private static func read(
        _ table: RawSpan, at start: VirtualAddress, _ entry: Entry, into sites: inout [Range<VirtualAddress>]
    ) {
        func site(_ address: VirtualAddress, _ length: UInt64) { sites.append(address..<address + length) }
        func relative(_ offset: Int) -> VirtualAddress {
            start + UInt64(bitPattern: Int64(offset) + Int64(table.load(offset, as: Int32.self)))
        }
        switch entry {
        case .absolute(let length):
            for offset in stride(from: 0, through: table.byteCount - 8, by: 8) {
                site(VirtualAddress(table.load(offset, as: UInt64.self)), length)
            }
        case .relative(let stride, let length):
            for offset in Swift.stride(from: 0, through: table.byteCount - stride, by: stride) {
                site(relative(offset), length)
            }
        case .paravirt:
            for offset in stride(from: 0, through: table.byteCount - 16, by: 16) {
                site(
                    VirtualAddress(table.load(offset, as: UInt64.self)), UInt64(table.load(offset + 9, as: UInt8.self)))
            }
        case .alternative:
            guard let size = [12, 14, 13].first(where: { isPlausible(table, entrySize: $0) }) else { return }
            for offset in stride(from: 0, through: table.byteCount - size, by: size) {
                site(relative(offset), UInt64(table.load(offset + size - 2, as: UInt8.self)))
            }
        }
    }

    /// Alternatives of one kernel all have the same size of entry: the one at which the replacement is never longer
    /// than the original.
    private static func isPlausible(_ table: RawSpan, entrySize: Int) -> Bool {
        guard table.byteCount % entrySize == 0 else { return false }
        for offset in stride(from: 0, through: table.byteCount - entrySize, by: entrySize) {
            let original = table.load(offset + entrySize - 2, as: UInt8.self)
            let replacement = table.load(offset + entrySize - 1, as: UInt8.self)
            guard original > 0, replacement <= original else { return false }
        }
        return true
    }

    private static func literals(_ analysis: KernelAnalysis, _ image: borrowing KernelImage) -> [Range<VirtualAddress>]
    {
        guard let start = analysis.symbols.optional("__start_rodata")?.address,
            let end = analysis.symbols.optional("__end_rodata")?.address, start < end,
            let first = analysis.map.fileOffset(of: start)
        else { return [] }
        let count = min(Int(end - start), image.file.byteCount - first)
        let rodata = image.file.bytes.extracting(first..<first + count)
        var found: [Range<VirtualAddress>] = []
        for text in strings.map({ Array($0.utf8) }) {
            for at in 0..<max(0, count - text.count) where rodata.load(at, as: UInt8.self) == text[0] {
                guard text.indices.allSatisfy({ rodata.load(at + $0, as: UInt8.self) == text[$0] }) else { continue }
                found.append(start + UInt64(at)..<start + UInt64(at + text.count))
            }
        }
        return found
    }
}
