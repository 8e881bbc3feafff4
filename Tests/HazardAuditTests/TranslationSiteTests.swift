// SPDX-License-Identifier: MIT

// Places that translate addresses, in functions of a few instructions: each kind
// is told from its neighbours, and what cannot be followed is said to be so.

import Addressing
import KernelImage
import TestSupport
import Testing

@testable import HazardAudit

/// A linked kernel of a few instructions, laid out for an audit.
func subject(_ assembler: String, in given: Scratch? = nil) throws -> AuditSubject {
    let scratch = try given ?? Scratch()
    let path = try linkKernel(assembler + "\n.data\n.globl phys_base\nphys_base: .quad 0\n", in: scratch)
    let bytes = try readBytes(path)
    let image = try KernelImage.open(path)
    let table = try #require(try image.symbolTable())
    let sections = image.sections.filter { $0.isAllocated && $0.size > 0 && !$0.isNoBits }.map { section in
        AuditSubject.Section(
            name: section.name, address: section.address, size: section.size,
            bytes: Array(bytes[Int(section.offset)..<Int(section.offset + section.size)]),
            isExecutable: section.isExecutable, isWritable: section.flags & 1 != 0)
    }
    let first = try #require(sections.map(\.range.lowerBound).min())
    let last = try #require(sections.map(\.range.upperBound).max())
    var names: [String] = []
    for symbol in table.symbols { names.append(table.name(of: symbol, in: image)) }
    return AuditSubject(
        file: path, sections: sections, symbols: Array(table.symbols), names: names,
        index: table.index(over: first..<last + 4096),
        kernel: nil)
}

struct TranslationSiteTests {
    private func sites(_ body: String) throws -> [TranslationSite] {
        let found = TranslationSites(
            try subject("FUNCTION(start): \(body)\nEND(start)\nFUNCTION(callee): ret\nEND(callee)"))
        #expect(found.skipped.isEmpty)
        return found.sites
    }

    @Test(arguments: [
        "mov phys_base(%rip), %rax; add %rdi, %rax; ret",
        "mov phys_base(%rip), %rax; add %rax, %rdi; ret",
        "mov phys_base(%rip), %rax; lea (%rdi,%rax), %rcx; ret",
        "mov phys_base(%rip), %rax; mov %rax, %rcx; add %rdi, %rcx; ret",
        "mov phys_base(%rip), %rax; push %rax; pop %rcx; add %rdi, %rcx; ret",
        "mov phys_base(%rip), %rax; mov %rax, -8(%rsp); mov -8(%rsp), %rdx; add %rdi, %rdx; ret",
        "mov phys_base(%rip), %eax; add %edi, %eax; ret",
        "add phys_base(%rip), %rdi; ret",
        "mov phys_base, %rax; add %rdi, %rax; ret",
        "test %rsi, %rsi; je 1f; mov phys_base(%rip), %rax; jmp 2f; 1: mov %rdx, %rax; 2: add %rdi, %rax; ret",
        "mov phys_base(%rip), %rbx; call callee; add %r12, %rbx; ret",
    ])
    func oneRegisterHoldsTheAddress(body: String) throws {
        let sites = try sites(body)
        #expect(sites.map(\.kind) == [.register], "\(sites)")
        #expect(sites.first.map { ["rdi", "r12"].contains($0.translated) } == true)
    }

    @Test(arguments: [
        // Of two addresses.
        "mov phys_base(%rip), %rax; test %rcx, %rcx; je 1f; add %rdi, %rax; ret; 1: add %rsi, %rax; ret",
        // The address comes after the read.
        "mov phys_base(%rip), %rax; mov (%rsi), %rdi; add %rdi, %rax; ret",
        "mov phys_base(%rip), %rbx; call callee; add %rdi, %rbx; ret",
        // In a loop.
        "mov phys_base(%rip), %rax; 1: mov %rax, %rdx; add %rdi, %rdx; add $8, %rdi; dec %rcx; jne 1b; ret",
        // In memory.
        "mov phys_base(%rip), %rax; add (%rsi), %rax; ret",
    ])
    func eachUseHasItsOwn(body: String) throws {
        let sites = try sites(body)
        #expect(sites.map(\.kind) == [.shared], "\(sites)")
    }

    @Test(arguments: [
        ("sub phys_base(%rip), %rdi; ret", TranslationSite.Kind.reverse),
        ("mov phys_base(%rip), %rax; sub %rax, %rdi; ret", .reverse),
        ("mov phys_base(%rip), %rsi; call callee; ret", .offset),
        ("mov phys_base(%rip), %rax; mov %rax, (%rdi); ret", .offset),
        ("mov %rax, phys_base(%rip); ret", .offset),
        ("lea phys_base(%rip), %rax; ret", .offset),
        ("mov phys_base(%rip), %rax; imul %rdi, %rax; ret", .notUnderstood),
        ("mov phys_base(%rip), %rax; lea (%rdi,%rax,2), %rcx; ret", .notUnderstood),
        ("mov phys_base(%rip), %rax; xor %eax, %eax; ret", .notUnderstood),
    ])
    func otherUses(body: String, kind: TranslationSite.Kind) throws {
        let sites = try sites(body)
        #expect(sites.map(\.kind) == [kind], "\(sites)")
    }

    /// Bytes that look like a reference, inside an instruction that is none.
    @Test func noSiteWithoutAReference() throws {
        #expect(try sites("movabs $phys_base, %rax; mov $0x12345678, %ecx; ret").filter { $0.kind != .offset }.isEmpty)
        #expect(try sites("mov callee(%rip), %rax; add %rdi, %rax; ret").isEmpty)
    }

    /// A use in a part that the compiler moved away, and a site in code that no symbol covers.
    @Test func partsAndNamelessCode() throws {
        let found = TranslationSites(
            try subject(
                """
                FUNCTION(start): test %rsi, %rsi; je start.cold
                back: add %rdi, %rax; ret
                END(start)
                FUNCTION(start.cold): mov phys_base(%rip), %rax; jmp back
                END(start.cold)
                add phys_base(%rip), %rdx; ret
                """))
        #expect(found.sites.map(\.kind) == [.register, .register])
        #expect(found.sites.map(\.translated) == ["rdi", "rdx"])
    }

    /// Code to which nothing leads ends with a jump that might lead anywhere, to itself even.
    @Test func codeThatOnlyItselfMayLeadTo() throws {
        let sites = try sites("ret; nop; add phys_base(%rip), %rdi; jmp *%rax")
        #expect(sites.map(\.kind) == [.register], "\(sites)")
    }

    /// Bytes that are no instructions are said to be skipped, and the rest goes on.
    @Test func codeThatDoesNotDecode() throws {
        let found = TranslationSites(
            try subject(
                """
                FUNCTION(start): .byte 0x06, 0x06; .long phys_base - . - 4; ret
                END(start)
                FUNCTION(after): add phys_base(%rip), %rdi; ret
                END(after)
                """))
        #expect(found.sites.map(\.kind) == [.register])
        #expect(found.skipped.count == 1)
    }
}
