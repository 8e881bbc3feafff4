// SPDX-License-Identifier: MIT

// Ways through a function that are easily missed: behind jumps that may not be
// there, through code that takes the place of other code, to the cases of a
// switch statement. A buffer gets to an interface on each of them.

import Testing

@testable import HazardAudit

struct FunctionUnitTests {
    private func verdicts(_ body: String, _ tables: String = "") throws -> [String: Rule.Severity] {
        try module("FUNCTION(use): mov $crossing, %rsi; mov $200, %edx; \(body)\nEND(use)\n\(tables)").verdicts(
            as: .image)
    }

    /// What lies behind a jump is reached by another one, later.
    @Test func aBranchBackToWhatLiesBehindAJump() throws {
        #expect(try verdicts("jmp 1f; 2: nopl (%rax); call sg_init_one; ret; 1: jmp 2b") == ["crossing": .hazard])
        #expect(try verdicts("jmp 1f; 2: nopl (%rax); call sg_init_one; ret; 1: jmp 1b") == [:])
    }

    /// The kernel makes a jump of a nop, and a nop of a jump.
    @Test(arguments: [
        "8: nopl 0(%rax,%rax); ret; 9: call sg_init_one; ret",
        "8: .byte 0xe9; .long 9f - . - 4; call sg_init_one; 9: ret",
    ])
    func aJumpThatIsPatched(body: String) throws {
        let table = ".pushsection __jump_table, \"aw\"; .long 8b - ., 9b - .; .quad 0; .popsection"
        #expect(try verdicts(body, table) == ["crossing": .hazard])
        #expect(try verdicts(body) == [:])
    }

    /// Sizes lie elsewhere in the tables of other versions of Linux.
    @Test(arguments: [".short 0; .byte 5, 0", ".short 0; .byte 5, 0, 0", ".long 0; .byte 5, 0"])
    func aJumpThatIsTakenOut(sizes: String) throws {
        let body = "8: .byte 0xe9; .long 9f - . - 4; call sg_init_one; 9: ret"
        let table = """
            .pushsection .altinstr_replacement, "ax"; 6: .popsection
            .pushsection .altinstructions, "a"; .long 8b - ., 6b - .; \(sizes); .popsection
            """
        #expect(try verdicts(body, table) == ["crossing": .hazard])
    }

    /// It comes instead, not behind.
    @Test func codeThatTakesThePlaceOfOther() throws {
        let body = """
            mov $inside, %rsi
            8:    mov $wide + 4000, %rsi
            9:    call sg_init_one; ret
            """
        func table(_ replacement: String) -> String {
            """
            .pushsection .altinstr_replacement, "ax"; 5: jmp 5b; 6: \(replacement); 7: jmp 7b; .popsection
            .pushsection .altinstructions, "a"; .long 8b - ., 6b - .; .short 0; .byte 9b - 8b, 7b - 6b; .popsection
            """
        }
        #expect(try verdicts(body) == ["wide": .hazard])
        #expect(try verdicts(body, table("nop")) == ["wide": .hazard, "inside": .safe])
        #expect(try verdicts(body, table("mov $crossing, %rsi")) == ["wide": .hazard, "crossing": .hazard])
    }

    @Test func whereAFaultLeadsTheRegisterIsAsBefore() throws {
        let body = "8: mov (%rdi), %rsi; ret; 9: call sg_init_one; ret"
        let table = ".pushsection __ex_table, \"a\"; .long 8b - ., 9b - ., 0; .popsection"
        #expect(try verdicts(body, table) == ["crossing": .hazard])
        #expect(try verdicts(body) == [:])
    }

    @Test func aWarningGoesOn() throws {
        func table(_ flags: Int) -> String {
            ".pushsection __bug_table, \"aw\"; .long 8b - ., 0; .short 0, \(flags); .popsection"
        }
        let body = "8: ud2; call sg_init_one; ret"
        #expect(try verdicts(body, table(1)) == ["crossing": .hazard])
        #expect(try verdicts(body, table(0)) == [:])
    }

    @Test func casesOfASwitch() throws {
        let body = "mov $inside, %rax; jmp *table(,%rdi,8); 8: mov %rax, %rsi; 9: call sg_init_one; ret"
        let table = ".pushsection .rodata, \"a\"; table: .quad 8b, 9b; .popsection"
        #expect(try verdicts(body, table) == ["crossing": .hazard, "inside": .safe])
        #expect(try verdicts(body.replacing("*table(,%rdi,8)", with: "*%rdi")) == ["inside": .safe])
    }

    @Test func theStackIsKnownBehindFlags() throws {
        let body = "push %rsi; pushf; popf; xor %esi, %esi; pop %rsi; call sg_init_one; ret"
        #expect(try verdicts(body) == ["crossing": .hazard])
    }
}
