// SPDX-License-Identifier: MIT

// Numbers in code and in tables that lead out of what they count: compilers write
// some of them, damage writes the others. What the audit says of the rest stays.

import Addressing
import KernelImage
import KernelRewrite
import TestSupport
import Testing

@testable import HazardAudit

struct ExtremeNumberTests {
    private let good = "FUNCTION(good): mov $crossing, %rsi; mov $200, %edx; call sg_init_one; ret; END(good)\n"

    private func verdicts(_ code: String) throws -> [String: Rule.Severity] {
        try module(good + "FUNCTION(use): \(code); ret; END(use)").verdicts(as: .image)
    }

    /// A driver's own structure has fields before the request in it.
    @Test func fieldsBeforeARequest() throws {
        let code = """
            push %rbx; mov %rdi, %rbx; movq $wide, -8(%rbx); movl $200, -24(%rbx); movq $inside, 0x60(%rbx)
            movl $200, 0x80(%rbx); movq $use, 0xb0(%rbx); call usb_submit_urb; pop %rbx
            """
        #expect(try verdicts(code) == ["crossing": .hazard, "inside": .safe])
    }

    @Test(arguments: [
        // A length that may be negative, and one with no end.
        ("and $0x7f, %edx; add $-16, %rdx; mov $wide, %rsi; call sg_init_one", ["wide": Rule.Severity.suspicious]),
        ("mov $4, %ecx; cmp %rcx, %rdx; cmovb %rcx, %rdx; mov $literal, %rsi; call sg_init_one", [".rodata": .safe]),
        // Elements downwards, and a distance that wraps around.
        ("imul $-96, %rdi, %rdi; lea wide(%rdi), %rsi; mov $96, %edx; call sg_init_one", ["wide": .hazard]),
        ("imul $-128, %rdi, %rdi; lea wide(%rdi), %rsi; mov $128, %edx; call sg_init_one", ["wide": .safe]),
        ("shl $63, %rdi; lea wide(%rdi), %rsi; mov $96, %edx; call sg_init_one", ["wide": .safe]),
        ("shl $60, %rdi; mov wide(%rdi), %rsi; mov $96, %edx; call sg_init_one", [:]),
        ("imul $-8, %rdi, %rdi; mov wide(%rdi), %rsi; mov $96, %edx; call sg_init_one", [:]),
        (
            "and $7, %edx; xor %eax, %eax; cmp %rax, %rdx; cmova %rax, %rdx; "
                + String(repeating: "imul $0x7ffff, %rdx, %rdx; ", count: 4) + "mov $wide, %rsi; call sg_init_one",
            ["wide": .safe]
        ),
    ])
    func inCode(code: String, expected: [String: Rule.Severity]) throws {
        let literal = "\n.section .rodata, \"a\"\nliteral: .asciz \"a text without a symbol of its own\"\n.text"
        let found = try module(good + "FUNCTION(use): \(code); ret; END(use)" + literal).verdicts(as: .image)
        #expect(found == expected.merging(["crossing": .hazard]) { $1 })
    }

    /// Where the symbol of a name is in the file: Elf64_Sym is name, info, other, section, value, size.
    private func symbol(_ name: String, of bytes: [UInt8]) throws -> Int {
        let scratch = try Scratch()
        _ = try write(bytes, to: scratch["module.o"])
        let image = try KernelImage.open(scratch["module.o"])
        let table = try #require(try image.symbolTable())
        let symbol = try #require(table.symbols.first { table.name(of: $0, in: image) == name })
        let section = image.section(named: ".symtab")
        return Int(try #require(section).offset) + 24 * Int(symbol.index)
    }

    @Test(arguments: [(16, 0xffff_ffff), (16, 0x8000_0000), (8, 0xffff_ffff_ffff_f000), (8, 1 << 40), (16, 4097)])
    func symbolsOutsideTheirSections(field: Int, value: UInt64) throws {
        let text = good + "FUNCTION(use): mov $inside, %rsi; mov $200, %edx; call sg_init_one; ret; END(use)\n"
        var bytes = try assemble(moduleObjects + text)
        let at = try symbol("inside", of: bytes) + field
        for i in 0..<8 { bytes[at + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i)) }
        let subject = try module(bytes)
        #expect(subject.module == ModuleRemarks(outside: 1))
        #expect(subject.symbols(named: "inside").isEmpty)
        #expect(subject.verdicts(as: .image)["crossing"] == .hazard)
        #expect(CrossingObject.all(in: subject).map(\.name) == ["crossing", "wide"])
    }

    @Test func codeThatDoesNotDecodeIsCounted() throws {
        let damaged =
            "FUNCTION(use): mov $wide, %rsi; mov $8000, %edx; call sg_init_one; .byte 6, 6, 6; nop; .byte 6; END(use)"
        let flows = DataFlows(try module(good + damaged), as: .image)
        #expect(flows.undecoded.values.sorted() == [2])
        #expect(Set(flows.findings.map(\.symbol)) == ["crossing", "wide"])
        #expect(DataFlows(try module(good), as: .image).undecoded.isEmpty)
    }
}
