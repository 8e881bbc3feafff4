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
        "mov $0x80000000, %edx; mov (%rsi), %rax; lea object(%rdx,%rax), %rax",
        "mov $0x80000000, %edx; mov (%rsi), %rax; lea object(%rax,%rdx), %rax",
        "mov $0x80000000, %edx; add (%rsi), %rdx; lea object(%rdx), %rax",
        "mov $object, %rdx; add (%rsi), %rdx; mov $0x80000000, %eax; add %rdx, %rax",
        "mov $0x80000000, %edx; lea object(,%rsi,8), %rax; add %rdx, %rax",
    ])
    func computedInRegisters(body: String) throws {
        #expect(try found(body) == [VirtualAddress(0)])
    }

    /// One way jumps over what destroys the constant on the other.
    @Test func behindAJump() throws {
        let body = """
            mov $0x80000000, %edx; mov (%rsi), %rax; jne 1f
            lea object(%rdx,%rax), %rax; mov 8(%rsi), %edx; jmp 2f
            1: lea object+8(%rdx,%rax), %rax
            2: nop
            """
        #expect(try found(body) == [VirtualAddress(0), VirtualAddress(8)])
    }

    /// One of two objects, by a jump and by a conditional move.
    @Test(arguments: [
        "mov $object, %rdx; je 1f; mov $object+8, %rdx; 1: mov $0x80000000, %eax; add %rdx, %rax",
        "mov $object, %rdx; mov $object+8, %rcx; cmove %rcx, %rdx; mov $0x80000000, %eax; add %rdx, %rax",
    ])
    func eitherOfTwo(body: String) throws {
        #expect(try Set(found(body)) == [VirtualAddress(0), VirtualAddress(8)])
    }

    @Test(arguments: [
        "mov $0x80000000, %eax; mov $object, %rdi; or %rdi, %rax",
        "mov $0x80000000, %edx; lea object(%rsi,%rdx,2), %rax",
        "mov $0x80000000, %eax; mov (%rdi), %rax; add $object, %rax",
        "mov $object, %rdi; add $8, %rdi",
        "mov $0x80000000, %eax; mov %eax, (%rdi); mov $object, %rdi",
    ])
    func otherUsesAreNone(body: String) throws {
        #expect(try found(body).isEmpty)
    }
}
