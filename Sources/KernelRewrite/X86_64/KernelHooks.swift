// SPDX-License-Identifier: MIT

// Where a boot stub sits in the kernel, and what leads to it: a page of padding
// that is executable while the kernel starts, the one call of `start_kernel`,
// and the first late initcall. Baked and per-boot permutations share them.

import Addressing
import Disassembly
import KernelImage

struct KernelHooks {
    let analysis: KernelAnalysis

    private var map: PageMap { analysis.map }

    private func refuse(_ what: String) -> RewriteError { .unsupported(file: analysis.symbols.file, what) }

    /// A page of padding.
    struct Home {
        let address: VirtualAddress
        let fileOffset: Int
        /// In bytes.
        let room: Int

        func change(to code: [UInt8], _ reason: String, _ image: borrowing KernelImage) -> Change {
            Change(
                fileOffset: fileOffset, address: address,
                before: (0..<code.count).map { image.file.bytes.load(fileOffset + $0, as: UInt8.self) }, after: code,
                reason: reason, evidence: "\(room) bytes of padding that no symbol covers")
        }
    }

    /// The function that prints a line to the kernel log.
    var printk: KernelSymbols.Place? { analysis.symbols.optional("_printk") ?? analysis.symbols.optional("printk") }

    /// The one instruction that goes from the kernel's first C code to start_kernel: behind the clearing of .bss,
    /// where memblock may keep its arrays, and before anything is allocated.
    func callSite(
        of target: VirtualAddress, _ image: borrowing KernelImage
    ) throws(RewriteError) -> Instruction {
        let found = startCalls(image).filter { $0.target == target }
        guard found.count == 1, let call = found.first, [.call, .jump].contains(call.flow), call.size == 5 else {
            throw refuse(
                "\(found.count) calls of start_kernel in \(Rules.startFunctions.joined(separator: " and ")) "
                    + "where one is expected")
        }
        return call
    }

    /// The direct calls and jumps in the kernel's first C code.
    func startCalls(_ image: borrowing KernelImage) -> [Instruction] {
        var found: [Instruction] = []
        for name in Rules.startFunctions {
            guard let function = analysis.symbols.optional(name), function.size > 0,
                let code = map.bytes(at: function.address, count: Int(function.size), in: image)
            else { continue }
            found += Decoder(.x86Bits64).all(code, at: function.address).filter { $0.target != nil }
        }
        return found
    }

    /// Changes the 32-bit offset of a direct call or jump.
    func lead(
        _ call: Instruction, to target: VirtualAddress, _ image: borrowing KernelImage
    ) throws(RewriteError) -> Change {
        let field = call.address + 1
        guard let fileOffset = map.fileOffset(of: field), let before = map.bytes(at: field, count: 4, in: image),
            let offset = Int32(exactly: Int64(bitPattern: target.rawValue &- call.next.rawValue))
        else { throw refuse("the call of start_kernel at \(call.address) cannot lead to \(target)") }
        return Change(
            fileOffset: fileOffset, address: field, before: before,
            after: (0..<4).map { UInt8(truncatingIfNeeded: offset >> (8 * $0)) },
            reason: "the start of the kernel leads through the boot stub",
            evidence: "\(call.mnemonic) at \(call.address) led to start_kernel")
    }

    /// A page of fill that is executable when the stub runs: behind text, in the gap before rodata, which the
    /// kernel frees later, or else in the padding that newer linker scripts leave inside text.
    func gap(_ image: borrowing KernelImage) throws(RewriteError) -> Home {
        let start = try analysis.symbols.require("_text", for: "to place the boot stub").address
        let end = try analysis.symbols.require("_etext", for: "to place the boot stub").address
        let rodata = try analysis.symbols.require("__start_rodata", for: "to place the boot stub").address
        let behind = map.pages(of: end..<rodata).dropFirst(end.offsetInPage == 0 ? 0 : 1)
        for page in Array(behind) + map.pages(of: start..<end) where isFill(page, image) {
            return Home(
                address: map.virtualBase + UInt64(page * pageSize), fileOffset: map.entries[page].fileOffset,
                room: pageSize)
        }
        throw refuse("no room for the boot stub: no unused page in text (\(start) … \(end)) or before \(rodata)")
    }

    /// Whether a page is nothing but padding: one byte value throughout, and no symbol's.
    func isFill(_ page: Int, _ image: borrowing KernelImage) -> Bool {
        let entry = map.entries[page]
        let address = map.virtualBase + UInt64(page * pageSize)
        guard entry.fileBytes == pageSize else { return false }
        let fill = image.file.bytes.load(entry.fileOffset, as: UInt8.self)
        return [0x00, 0x90, 0xcc].contains(fill)
            && (0..<pageSize).allSatisfy { image.file.bytes.load(entry.fileOffset + $0, as: UInt8.self) == fill }
            && !analysis.isCovered(address..<address + UInt64(pageSize))
    }

    /// Leads the first late initcall through the stub; gives its address, too, or nil if the kernel has none. Entries
    /// are 32-bit offsets relative to themselves.
    func announcement(
        _ image: borrowing KernelImage, _ target: VirtualAddress
    ) -> (address: VirtualAddress, change: Change)? {
        // A kernel that checks the type of what it calls would take the stub for an attack.
        guard analysis.symbols.all("__cfi_start_kernel").isEmpty,
            let first = analysis.symbols.optional("__initcall7_start")?.address,
            let end = analysis.symbols.optional("__initcall_end")?.address, first < end,
            let fileOffset = map.fileOffset(of: first), let before = map.bytes(at: first, count: 4, in: image)
        else { return nil }
        let offset = Int32(bitPattern: before.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
        let initcall = first + UInt64(bitPattern: Int64(offset))
        func isCode(_ address: VirtualAddress) -> Bool {
            image.sections.contains {
                $0.isExecutable && $0.isAllocated && $0.address <= address && address < $0.end
            }
        }
        guard map.page(of: initcall) != nil, isCode(initcall), !isCode(first) else { return nil }
        let relative = Int64(bitPattern: target.rawValue &- first.rawValue)
        guard let fits = Int32(exactly: relative) else { return nil }
        let change = Change(
            fileOffset: fileOffset, address: first, before: before,
            after: (0..<4).map { UInt8(truncatingIfNeeded: fits >> (8 * $0)) },
            reason: "the kernel log and debugfs say that the kernel is permuted",
            evidence: "__initcall7_start: the entry led to \(initcall)")
        return (initcall, change)
    }
}
