// SPDX-License-Identifier: MIT

// The one function of the kernel that must change. `__text_poke` maps the page
// it patches by virt_to_page, which counts on linear frames, when the address is
// in the kernel's text, and by vmalloc_to_page, which walks the page tables,
// when it is in a module. Taking the second way always is right for both:
//
//     call core_kernel_text          call core_kernel_text
//     test %eax, %eax         ->     xor  %eax, %eax
//     j(n)e …                        j(n)e …
//
// Found by symbol and decoded call. A kernel that has neither function does not
// patch its text this way and needs no change.

import Addressing
import Disassembly
import KernelImage

enum TextPoke {
    static func change(
        _ image: borrowing KernelImage, _ map: PageMap, _ symbols: KernelSymbols
    ) throws(RewriteError) -> Change? {
        if symbols.all("__text_poke").isEmpty && symbols.all("core_kernel_text").isEmpty { return nil }
        let poke = try symbols.require("__text_poke", for: "to patch moved text")
        let test = try symbols.require("core_kernel_text", for: "to patch moved text")
        guard let bytes = map.bytes(at: poke.address, count: Int(poke.size), in: image) else {
            throw .unsupported(file: image.path, "__text_poke at \(poke.address) has no code in the file")
        }
        let code = Decoder(.x86Bits64).all(bytes, at: poke.address)
        let found = code.indices.dropLast().filter { code[$0].flow == .call && code[$0].target == test.address }
            .map { code[$0 + 1] }
        guard found.count == 1, let check = found.first else {
            throw .unsupported(
                file: image.path,
                "__text_poke at \(poke.address) calls core_kernel_text \(found.count) times where once is expected")
        }
        let at = Int(check.address - poke.address)
        let before = Array(bytes[at..<at + check.size])
        let after: [UInt8]
        switch before {
        case [0x85, 0xc0]: after = [0x31, 0xc0]  // test eax, eax -> xor eax, eax
        case [0x84, 0xc0]: after = [0x30, 0xc0]  // test al, al -> xor al, al
        default:
            throw .unsupported(
                file: image.path,
                "__text_poke: \(check.mnemonic) at \(check.address) follows the call of core_kernel_text "
                    + "where a test of its result is expected")
        }
        guard let fileOffset = map.fileOffset(of: check.address) else {
            throw .unsupported(file: image.path, "__text_poke at \(poke.address) has no code in the file")
        }
        return Change(
            fileOffset: fileOffset, address: check.address, before: before, after: after,
            reason: "patching text finds its page by a page-table walk, not by virt_to_page",
            evidence: "__text_poke: \(check.mnemonic) at \(check.address), after the call of core_kernel_text")
    }
}
