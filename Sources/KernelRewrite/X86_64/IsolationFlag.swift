// SPDX-License-Identifier: MIT

// Page-table isolation copies entries of the kernel's tables into the user's,
// and marks them global in both on the way. On a large page that bit means
// something; on a pointer to a table it does not, but the kernel then takes the
// entry for a bad one, and the page-table walk that TextPoke.swift relies on
// fails: the first jump label patched after that is a BUG, on processors that
// need the isolation only. Where the image is mapped page by page, marking the
// pointer is of no use to anyone, so it is left out:
//
//     or $0x1, %dh          or $0x0, %dh
//     or $0x100, %rdx  ->   or $0x0, %rdx
//
// Found by symbol and decoded instruction. A kernel without the isolation needs
// no change.

import Addressing
import Disassembly
import KernelImage

enum IsolationFlag {
    /// `_PAGE_GLOBAL`.
    private static let global: Int64 = 0x100

    static func changes(
        _ image: borrowing KernelImage, _ map: PageMap, _ symbols: KernelSymbols
    ) throws(RewriteError) -> [Change] {
        guard !symbols.all("pti_init").isEmpty else { return [] }
        var changes: [Change] = []
        for function in symbols.all("pti_clone_pgtable") where function.size > 0 {
            guard let bytes = map.bytes(at: function.address, count: Int(function.size), in: image) else { continue }
            for instruction in Decoder(.x86Bits64).all(bytes, at: function.address) {
                guard let width = width(ofGlobalFlagIn: instruction) else { continue }
                let field = instruction.next + UInt64(bitPattern: Int64(-width))
                guard let fileOffset = map.fileOffset(of: field),
                    let before = map.bytes(at: field, count: width, in: image)
                else { continue }
                changes.append(
                    Change(
                        fileOffset: fileOffset, address: field, before: before,
                        after: [UInt8](repeating: 0, count: width),
                        reason: "page-table isolation leaves the flags of table pointers alone",
                        evidence:
                            "pti_clone_pgtable: \(instruction.mnemonic) at \(instruction.address) sets the global bit"
                    ))
            }
        }
        guard !changes.isEmpty else {
            throw .unsupported(
                file: image.path,
                "the kernel has page-table isolation (pti_init), but no instruction of pti_clone_pgtable sets the "
                    + "global bit of an entry: kperm cannot tell what it does to tables of 4 KB pages")
        }
        return changes
    }

    /// The bytes of the constant, at the end of an instruction that sets the global bit of a register.
    private static func width(ofGlobalFlagIn instruction: Instruction) -> Int? {
        guard instruction.mnemonic == "or", instruction.operands.count == 2,
            case .register(let register) = instruction.operands[0],
            case .immediate(let value) = instruction.operands[1]
        else { return nil }
        if register.hasSuffix("h"), value == global >> 8 { return 1 }
        return value == global ? 4 : nil
    }
}
