// SPDX-License-Identifier: MIT

// Objects whose physical address the kernel computes in registers. One that was
// missed, espfix_pud_page, let any user of a permuted kernel panic it: the
// processor read a stranger's page as a page table.

import Addressing
import KernelImage
import Testing

@testable import KernelRewrite

struct TranslatedConstantTests {
    private func found(_ body: String) throws -> [VirtualAddress] {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): \(body); hlt
            END(start)
            .data
            .balign 4096
            object: .quad 0
            """, names: ["object"])
        let object = try #require(kernel.symbols.optional("object")).address
        return translated(kernel.image, kernel.map).map { VirtualAddress($0 - object) }
    }

    private func translated(_ image: borrowing KernelImage, _ map: PageMap) -> [VirtualAddress] {
        var computed = TranslatedConstants(map)
        for section in image.sections where section.name == ".text" {
            let code = image.file.bytes.extracting(Int(section.offset)..<Int(section.offset + section.size))
            computed.add(ConstantScan(code).halves, in: code, at: section.address)
        }
        return computed.found.map(\.target)
    }

    @Test(arguments: [
        "mov $0x80000000, %ebp; add $object, %rbp",
        "mov $0x80000000, %eax; add $object, %rax; jb 1f; 1: nop",
        "mov $0x80000000, %r9d; nop; add $object, %r9",
        "mov $object, %rdx; sub $0xffffffff80000000, %rdx",
        "mov $object, %rdx; mov $0x80000000, %eax; add %rdx, %rax",
        "mov $0x80000000, %eax; mov $object, %rdx; add %rax, %rdx",
        "mov $object, %rdi; mov $0x80000000, %eax; lea (%rdi,%rax), %rcx",
        "mov $0x80000000, %eax; lea object(%rax), %rcx",
    ])
    func computedInRegisters(body: String) throws {
        #expect(try found(body) == [VirtualAddress(0)])
    }

    @Test(arguments: [
        "mov $0x80000000, %eax; mov $object, %rdi; or %rdi, %rax",
        "mov $0x80000000, %eax; mov (%rdi), %rax; add $object, %rax",
        "mov $object, %rdi; add $8, %rdi",
        "mov $0x80000000, %eax; mov %eax, (%rdi); mov $object, %rdi",
    ])
    func otherUsesAreNone(body: String) throws {
        #expect(try found(body).isEmpty)
    }
}
