// SPDX-License-Identifier: MIT

// Ways from an object to an interface: each is followed, and the neighbour that
// looks like it is not taken for it.

import Testing

@testable import HazardAudit

struct DataFlowTests {
    private static let send = "FUNCTION(send): call sg_init_one; ret; END(send)\n"

    private func verdicts(_ code: String) throws -> [String: Rule.Severity] { try module(code).verdicts(as: .image) }

    @Test func oneOfTwo() throws {
        let code = """
            FUNCTION(use): test %edi, %edi; mov $crossing, %rsi; mov $inside, %rax; cmove %rax, %rsi
                  mov $200, %edx; call sg_init_one; ret
            END(use)
            """
        #expect(try verdicts(code) == ["crossing": .hazard, "inside": .safe])
    }

    @Test func throughCallers() throws {
        let chain = "FUNCTION(middle): mov $200, %edx; jmp send; END(middle)\n"
        let use = "FUNCTION(use): mov $crossing, %rsi; call middle; mov $inside, %rdi; call middle; ret; END(use)"
        #expect(try verdicts(Self.send + chain + use) == ["crossing": .hazard])
    }

    @Test func aLengthThatACallerMultiplies() throws {
        let chain = "FUNCTION(middle): lea (,%rdx,4), %edx; jmp send; END(middle)\n"
        func use(_ count: Int) -> String {
            "FUNCTION(use): mov $crossing, %rsi; mov $\(count), %edx; jmp middle; END(use)"
        }
        #expect(try verdicts(Self.send + chain + use(50)) == ["crossing": .hazard])
        #expect(try verdicts(Self.send + chain + use(24)) == ["crossing": .safe])
    }

    @Test func throughAPointerInATable() throws {
        let code = """
            FUNCTION(other): ret
            END(other)
            FUNCTION(use): and $1, %edi; mov table(,%rdi,8), %rax; mov $crossing, %rsi; mov $200, %edx
                  call *%rax; ret
            END(use)
            .section .rodata, "a"
            .type table, @object; .size table, 16
            table: .quad
            """
        #expect(try verdicts(Self.send + code + " other, send") == ["crossing": .hazard])
        #expect(try verdicts(Self.send + code + " other, other").isEmpty)
    }

    @Test func anObjectInATable() throws {
        let code = """
            FUNCTION(use): mov table(,%rdi,8), %rsi; mov $200, %edx; call sg_init_one; ret
            END(use)
            .data
            .type table, @object; .size table, 16
            table: .quad inside, crossing
            """
        #expect(try verdicts(code) == ["crossing": .hazard, "inside": .safe])
    }

    @Test func throughAVariable() throws {
        let code = """
            FUNCTION(choose): movq $crossing, current(%rip); ret
            END(choose)
            FUNCTION(use): mov current(%rip), %rsi; mov $200, %edx; call sg_init_one; ret
            END(use)
            .bss
            .type current, @object; .size current, 8
            current: .zero 8
            """
        #expect(try verdicts(code) == ["crossing": .hazard])
    }

    @Test func throughAField() throws {
        func code(_ length: Int) -> String {
            """
            FUNCTION(choose): movq $crossing, 8(%rdi); movq $\(length), 16(%rdi); ret
            END(choose)
            FUNCTION(use): mov 8(%rdi), %rsi; mov 16(%rdi), %rdx; call sg_init_one; ret
            END(use)
            """
        }
        #expect(try verdicts(code(200)) == ["crossing": .hazard])
        #expect(try verdicts(code(120)).isEmpty)
    }

    /// Elements of an array over three pages, by a number that is not known.
    @Test(arguments: [
        ("shl $7, %rdi", 128, Rule.Severity.safe), ("imul $96, %rdi, %rdi", 96, .hazard),
        ("and $7, %edi; imul $96, %rdi, %rdi", 96, .safe), ("nop", 96, .suspicious), ("shl $12, %rdi", 4096, .safe),
    ])
    func elements(scaling: String, size: Int, expected: Rule.Severity) throws {
        let code =
            "FUNCTION(use): \(scaling); lea wide(%rdi), %rsi; mov $\(size), %edx; call sg_init_one; ret; END(use)"
        #expect(try verdicts(code.replacing("wide(%rdi)", with: "whole(%rdi)") + whole) == ["whole": expected])
    }

    private let whole = "\n.bss\n.balign 4096\n.type whole, @object; .size whole, 12288; whole: .zero 12288\n"

    @Test(arguments: [(512, Rule.Severity.safe), (768, .hazard)])
    func chunksInALoop(size: Int, expected: Rule.Severity) throws {
        let code = """
            FUNCTION(use): push %rbx; mov $whole, %rbx
            1:    mov %rbx, %rsi; mov $\(size), %edx; call sg_init_one; add $\(size), %rbx
                  cmp $whole + 12288, %rbx; jb 1b; pop %rbx; ret
            END(use)
            """
        #expect(try verdicts(code + whole) == ["whole": expected])
    }

    /// As far as the page goes, and then the next page.
    @Test(arguments: [(4096, Rule.Severity.safe), (8192, .suspicious)])
    func partsThatEndWithTheirPage(limit: Int, expected: Rule.Severity) throws {
        let code = """
            FUNCTION(use): push %rbx; push %rbp; mov $whole + 100, %rbx; mov $9000, %ebp
            1:    mov %ebx, %ecx; and $0xfff, %ecx; mov $\(limit), %edx; sub %ecx, %edx
                  cmp %ebp, %edx; cmova %ebp, %edx; mov %edx, %r12d
                  mov %rbx, %rsi; call sg_init_one; mov %r12d, %eax; add %rax, %rbx; sub %r12d, %ebp; jne 1b
                  pop %rbp; pop %rbx; ret
            END(use)
            """
        #expect(try verdicts(code + whole) == ["whole": expected])
    }

    @Test(arguments: [("cmova", Rule.Severity.suspicious), ("cmovb", .hazard)])
    func aLengthThatIsAtMostOrAtLeast(move: String, expected: Rule.Severity) throws {
        let code = """
            FUNCTION(use): mov $150, %ecx; cmp %rcx, %rdx; \(move) %rcx, %rdx; mov $crossing, %rsi; call sg_init_one; ret
            END(use)
            """
        #expect(try verdicts(code) == ["crossing": expected])
    }

    @Test func perCPUMemoryIsAllocated() throws {
        let code = """
            FUNCTION(use): mov $mine, %rsi; add %gs:this_cpu_off(%rip), %rsi; mov $200, %edx; call sg_init_one; ret
            END(use)
            .section .data..percpu, "aw"
            .balign 4096
            .zero 4000
            .type mine, @object; .size mine, 200; mine: .zero 200
            """
        #expect(try verdicts(code) == ["mine": .safe])
        #expect(try module(code).verdicts(as: .module) == ["mine": .safe])
    }

    @Test func thePathLeadsFromTheObjectToTheInterface() throws {
        let use = "FUNCTION(use): mov $crossing, %rsi; mov $200, %edx; call send; ret; END(use)"
        let found = DataFlows(try module(Self.send + use), as: .image).findings
        #expect(found.count == 1)
        #expect(found.first?.path == ["use+0xc", "send"])
        #expect(found.first?.crossesPage == true && found.first?.size == 200 && found.first?.section == ".bss")
        #expect(found.first?.reason == "200 bytes begin 96 bytes before the end of a page")
    }
}
