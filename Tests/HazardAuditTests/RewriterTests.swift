// SPDX-License-Identifier: MIT

// Translations of small kernels, rewritten and run: what they should do they do,
// and a lookup that does anything else is told.

import Addressing
import Disassembly
import KernelImage
import TestSupport
import Testing

@testable import HazardAudit
@testable import KernelRewrite

/// A linked kernel of one function, as it is and rewritten.
private struct Rewritten {
    let sites: [TranslationSite]
    let code: DetourCode
    let frames: [UInt32]
    let base: VirtualAddress
    let before: [UInt8]
    private(set) var after: [UInt8]
    let room: VirtualAddress

    init(_ body: String, _ random: inout TestRandom) throws {
        let assembler = """
            FUNCTION(start): \(body)
            END(start)
            .section .other, "ax"
            .globl room; room: .skip 0x1000, 0xcc
            .data
            .balign 4096
            .globl object; object: .skip 0x20000
            """
        let scratch = try Scratch()
        let subject = try subject(assembler, in: scratch)
        let image = try KernelImage.open(subject.file)
        func address(_ name: String) throws -> VirtualAddress {
            try #require(subject.symbols(named: name).first?.value)
        }
        base = try address("_text")
        let map = try PageMap(image, from: base, to: try address("_end"))
        sites = TranslationSites(subject).sites
        frames = (0..<UInt32(map.pageCount)).shuffled(using: &random)
        var table: [UInt8] = []
        for (page, frame) in frames.enumerated() {
            table.append(littleEndian: (Int64(frame) - Int64(page)) * Int64(pageSize))
        }
        table.append(littleEndian: UInt64(0))
        table.append(littleEndian: UInt64(frames.count))
        room = try address("room")
        let detours = Detour.all(sites.compactMap(\.rewritten)).detours
        let lookups = KernelLookups(
            text: base, table: room, pages: frames.count, physBase: try address("phys_base"))
        var noNotes: NotePayload?
        code = Rewriter.code(
            detours, behind: table, at: room, lookups, map.originals(of: detours, in: image), nil, &noNotes
        ) { _ in nil }
        var memory: [UInt8] = []
        for page in 0..<map.pageCount { memory += map.contents(of: page, in: image) }
        before = memory
        after = memory
        for led in code.led { write(led.lead, at: led.detour.start) }
        write(code.bytes, at: room)
    }

    private mutating func write(_ bytes: [UInt8], at address: VirtualAddress) {
        let offset = Int(address - base)
        after.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }

    /// With other bytes in the place of some that stand once in the code of the detours; nil when they do not.
    func replacing(_ old: [UInt8], with new: [UInt8]) -> Rewritten? {
        guard let first = code.led.first else { return nil }
        let start = Int(first.code.lowerBound - base)
        let places = (start...Int(room - base) + code.bytes.count - old.count).filter {
            after[$0..<$0 + old.count].elementsEqual(old)
        }
        guard places.count == 1 else { return nil }
        var other = self
        other.after.replaceSubrange(places[0]..<places[0] + old.count, with: new)
        return other
    }

    func proof(_ random: inout TestRandom) throws -> LookupProof {
        var proof = try LookupProof(before, after, at: base, frames: frames)
        for led in code.led { try proof.check(led, &random) }
        return proof
    }
}

struct RewriterTests {
    @Test(arguments: [
        ("mov phys_base(%rip), %rax; add %rdi, %rax; ret", 1),
        ("mov phys_base(%rip), %rax; add %rdi, %rax; shr $12, %rax; ret", 1),
        ("mov phys_base(%rip), %rax; add %rax, %rdi; mov %rdi, %cr3; ret", 1),
        ("add phys_base(%rip), %rdi; ret", 1),
        ("mov phys_base(%rip), %rax; cmp %rsi, %rdi; lea 16(%rdi,%rax), %rcx; setb %al; ret", 1),
        ("mov phys_base(%rip), %rax; cmp %rsi, %rdi; lea (%r12,%rax), %rax; setb %cl; ret", 1),
        ("mov phys_base(%rip), %r13; lea (%r13,%r12), %r13; or $3, %r13; mov %r13, (%rsi); ret", 1),
        ("mov phys_base(%rip), %rbp; add %r12, %rbp; push %rbp; ret", 1),
        ("mov phys_base(%rip), %rax; jc 1f; add $1, %rcx; 1: add %rdi, %rax; jc 1b; ret", 1),
        ("mov phys_base(%rip), %rax; jc 1f; add $1, %rcx; 1: add %rdi, %rax; jmp 2f; .skip 300; 2: ret", 1),
        ("test %rdi, %rdi; mov %rsi, %rax; cmovne phys_base(%rip), %rax; add %rdi, %rax; setc %cl; ret", 1),
        ("mov phys_base(%rip), %rax; lea 24(%rdi), %r12; mov object(%rip), %rdx; add %r12, %rax; ret", 1),
        (
            "mov phys_base(%rip), %r13; test %rdi, %rdi; je 1f; lea 8(%rdi), %r15; add %r15, %r13; add $1, %r15; ret; "
                + "1: add %rsi, %r13; mov %r13, 8(%rsp); ret", 2
        ),
        (
            "mov phys_base(%rip), %rax; mov $3, %ecx; 1: lea (%rdi,%rax), %rdx; add $4096, %rdi; dec %ecx; jne 1b; ret",
            1
        ),
        ("mov phys_base(%rip), %rax; mov %rax, %rcx; add %rdi, %rax; add %rsi, %rcx; ret", 2),
        // Others come to the sum, or behind it, so that no jump fits there.
        ("test %rsi, %rsi; je 1f; mov $1, %eax; 2: add %rax, %rdi; ret; 1: mov phys_base(%rip), %rax; jmp 2b", 1),
        ("mov phys_base(%rip), %rax; 1: add %rdi, %rax; pop %rdi; jrcxz 1b; ret", 1),
        (
            "test %rsi, %rsi; je 3f; mov $1, %eax; mov phys_base(%rip), %rdx; add %rsi, %rdi; jb 2f; mov $3, %edx; "
                + "2: add %rdx, %rdi; 3: mov %rdi, (%rsi); ret", 1
        ),
        (
            "mov phys_base(%rip), %rdx; add %rsi, %rdi; jae 2f; 1: add %rdx, %rdi; call start; ret; 2: mov $3, %edx; jmp 1b",
            1
        ),
        ("mov phys_base(%rip), %rdx; test %rsi, %rsi; je 1f; ret; 1: lea (%rdi,%rdx), %rdi; call start; ret", 1),
        // The sum has fewer bits than the address.
        ("mov $0x80000000, %eax; add %rdi, %rax; mov phys_base(%rip), %rdx; add %edx, %eax; mov %eax, %ecx; ret", 1),
        ("movabs $1, %rcx; add %rdi, %rcx; mov phys_base(%rip), %rdx; lea 8(%rcx,%rdx), %r8d; test %ecx, %ecx; ret", 1),
        // START_KERNEL_MAP is taken off the offset, not the address.
        ("mov $0x80000000, %eax; add phys_base(%rip), %rax; add %rcx, %rax; shr $12, %rax; mov %rax, (%rsi); ret", 1),
        (
            "mov $0x80000000, %ecx; mov phys_base(%rip), %rdx; lea (%rcx,%rdx), %rax; add %rax, %rdi; mov %rdi, %cr3; ret",
            1
        ),
    ])
    func rewrittenCodeAddsTheDifference(body: String, places: Int) throws {
        var random = TestRandom()
        let kernel = try Rewritten(body, &random)
        #expect(kernel.sites.allSatisfy { $0.whyNotRewritten == nil }, "\(kernel.sites)")
        #expect(kernel.code.left.isEmpty, "\(kernel.code.left)")
        let proof = try kernel.proof(&random)
        #expect(proof.findings.isEmpty, TestRandom.comment("\(body): \(proof.findings.prefix(3))"))
        #expect(proof.moved.count == places, TestRandom.comment(body))
    }

    /// Each of these mistakes in a lookup shows.
    @Test(
        arguments: [
            ("another shift", [0xc1, 0xe9, 0x0c], [0xc1, 0xe9, 0x0d]),
            ("another register", [0x48, 0x8d, 0x8f, 0, 0, 0, 0], [0x48, 0x8d, 0x8e, 0, 0, 0, 0]),
            ("another displacement", [0x48, 0x8d, 0x8f, 0, 0, 0, 0], [0x48, 0x8d, 0x8f, 0, 0x10, 0, 0]),
            ("the flags are not kept", [0x9d], [0x90]),
            ("one form of address only", [0xba, 0xf1, 0x1f], [0xba, 0xf1, 0x3e]),
            ("no bound", [0x48, 0x0f, 0x43, 0x0d], [0x48, 0x0f, 0x42, 0x0d]),
            ("another word of the table", [0x48, 0x8b, 0x8c, 0xca], [0x48, 0x8b, 0x8c, 0x8a]),
            ("a register is lost", [0x59], [0x90]),
            ("the sum is not right", [0x48, 0x8d, 0x54, 0x0a, 0], [0x48, 0x8d, 0x54, 0x0a, 1]),
            ("32 bits of a sum", [0x48, 0x8d, 0x54, 0x0a, 0], [0x40, 0x8d, 0x54, 0x0a, 0]),
        ] as [(String, [UInt8], [UInt8])])
    func mistakesShow(mistake: String, right: [UInt8], wrong: [UInt8]) throws {
        var random = TestRandom()
        let kernel = try Rewritten(
            "mov phys_base(%rip), %rax; cmp %rsi, %rdi; lea (%rdi,%rax), %rdx; setb %al; ret", &random)
        #expect(try kernel.proof(&random).findings.isEmpty, TestRandom.comment())
        let mistaken = try #require(
            kernel.replacing(right, with: wrong), "\(mistake): \(kernel.code.bytes.suffix(80))")
        #expect(try !mistaken.proof(&random).findings.isEmpty, TestRandom.comment(mistake))
    }

    /// So do those in what goes on with copies of other code, with a sum of 32 bits.
    @Test(
        arguments: [
            ("the other condition", [0x0f, 0x83], [0x0f, 0x82]),
            ("another way out", [0x0f, 0x83], [0x0f, 0x80]),
            ("another shift", [0xc1, 0xe8, 0x0c], [0xc1, 0xe8, 0x0b]),
            ("another sum", [0x45, 0x8d, 0x44, 0, 0], [0x45, 0x8d, 0x44, 0, 1]),
        ] as [(String, [UInt8], [UInt8])])
    func mistakesInTracesShow(mistake: String, right: [UInt8], wrong: [UInt8]) throws {
        var random = TestRandom()
        let kernel = try Rewritten(
            "test %rsi, %rsi; je 3f; mov $0x80000000, %ecx; mov phys_base(%rip), %rdx; add %rdi, %rcx; jb 2f; "
                + "mov $3, %edx; 2: lea (%rcx,%rdx), %r8d; 3: mov %r8, (%rsi); ret", &random)
        #expect(kernel.code.led.map(\.detour.isTrace) == [true])
        #expect(try kernel.proof(&random).findings.isEmpty, TestRandom.comment())
        let mistaken = try #require(
            kernel.replacing(right, with: wrong), "\(mistake): \(kernel.code.bytes.suffix(80))")
        #expect(try !mistaken.proof(&random).findings.isEmpty, TestRandom.comment(mistake))
    }

    /// What is left is left with its reason, and as it was.
    @Test(arguments: [
        ("mov phys_base(%rip), %rax; add (%rsi), %rax; ret", "the address is in memory"),
        ("mov phys_base(%rip), %rax; add %edi, %eax; ret", "the sum has fewer than 64 bits, and the address may have"),
        (
            "mov phys_base(%rip), %rdx; 1: lea (%rdi,%rdx), %rax; jrcxz 1b; ret",
            "no room for a jump to the lookup"
        ),
        (
            "mov phys_base(%rip), %rax; mov $0x80000000, %ecx; add %rcx, %rax; ret",
            "a sum of more than an address and the offset"
        ),
        (
            "mov phys_base(%rip), %rax; mov $0x70000000, %ecx; add %rcx, %rax; ret",
            "a number is added that is no address of the image"
        ),
        (
            "mov $0x80000000, %ecx; add phys_base(%rip), %rcx; add %rcx, %rax; add %rdx, %rax; ret",
            "a sum of more than an address and the offset"
        ),
        ("sub phys_base(%rip), %rdi; ret", "goes from a physical address back to a virtual one"),
        ("mov %rax, phys_base(%rip); ret", "wants the offset itself"),
    ])
    func whatCannotBeRewritten(body: String, reason: String) throws {
        var random = TestRandom()
        let kernel = try Rewritten(body, &random)
        #expect(kernel.sites.map(\.whyNotRewritten) == [reason])
        #expect(kernel.code.led.isEmpty)
    }
}
