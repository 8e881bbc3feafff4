// SPDX-License-Identifier: MIT

// Places that translate addresses in kernels for arm64 and RISC-V of a few
// instructions: each kind is told from its neighbours, decoding finds what
// relocations name, and what cannot be followed is said to be so.

import Addressing
import Disassembly
import KernelImage
import TestSupport
import Testing

@testable import HazardAudit

struct OffsetSiteTests {
    /// The sites of a kernel, and which relocations name the offset.
    private func audit(_ code: String, for target: String, at base: String) throws -> (
        TranslationSites, place: OffsetPlace, relocated: Set<VirtualAddress>
    ) {
        let scratch = try Scratch()
        let image = try KernelImage.open(try linkKernel(code, for: target, at: base, in: scratch))
        guard let architecture = OffsetArchitecture.of(image) else {
            throw ToolFailure(command: "audit", output: "unknown architecture")
        }
        let subject = try AuditSubject.unmapped(image)
        let place = OffsetPlace(subject, architecture)
        let offset = subject.symbols.first { subject.name(of: $0) == architecture.variable }
        var relocated: Set<VirtualAddress> = []
        // R_AARCH64_LDST64_ABS_LO12_NC: the low half of the address, in the load.
        try image.forEachRelocation { relocation in
            if relocation.type == 286, relocation.symbol == offset.map({ Int($0.index) }) {
                relocated.insert(relocation.address)
            }
        }
        return (TranslationSites(subject, architecture, at: place), place, relocated)
    }

    private func arm64(_ body: String) throws -> (sites: [TranslationSite], relocated: Set<VirtualAddress>) {
        let code = """
            FUNCTION(start): \(body)
            END(start)
            FUNCTION(callee): ret
            END(callee)
            .section .rodata, "a"
            .balign 8
            .quad 0
            FUNCTION(memstart_addr): .quad 0
            END(memstart_addr)
            .globl kimage_voffset; .type kimage_voffset, @object
            kimage_voffset: .quad 0
            END(kimage_voffset)
            """
        let (found, place, relocated) = try audit(code, for: "aarch64-linux-gnu", at: "0xffff800008000000")
        #expect(place.problem == nil)
        #expect(found.skipped.isEmpty, "\(found.skipped)")
        return (found.sites, relocated)
    }

    private static let read = "adrp x1, kimage_voffset; ldr x1, [x1, :lo12:kimage_voffset]; "

    @Test(arguments: [
        (read + "sub x0, x0, x1; ret", TranslationSite.Kind.register, "x0"),
        (read + "sub x2, x0, x1; lsr x0, x2, #12; ret", .register, "x0"),
        (read + "neg x1, x1; add x0, x0, x1; ret", .register, "x0"),
        (read + "str x1, [sp, #-16]!; mov x1, #0; ldr x2, [sp], #16; sub x0, x0, x2; ret", .register, "x0"),
        (read + "mov x19, x1; mov x20, x0; bl callee; sub x0, x20, x19; ret", .shared, "x20"),
        (read + "cbz x2, 1f; sub x0, x3, x1; ret; 1: sub x0, x4, x1; ret", .shared, "x3, x4"),
        (read + "ldr x0, [x2]; sub x0, x0, x1; ret", .shared, "x0"),
        (read + "adrp x2, callee; add x2, x2, :lo12:callee; sub x0, x2, x1; ret", .constant, "callee"),
        (read + "add x0, x0, x1; ret", .reverse, "x0"),
        (read + "add x0, x1, x2, lsl #12; ret", .reverse, "a shifted register"),
        (read + "add x1, x1, #4080; add x0, x3, x1; ret", .reverse, "x3"),
        // An address of the linear map: another offset is added first.
        (
            read + "adrp x2, memstart_addr; ldr x2, [x2, :lo12:memstart_addr]; add x1, x1, x2; sub x0, x0, x1; ret",
            .register, "x0"
        ),
        (read + "mov x0, x1; b callee", .offset, ""),
        (read + "str x1, [x2]; ret", .offset, ""),
        ("adrp x1, kimage_voffset; str x0, [x1, :lo12:kimage_voffset]; ret", .offset, ""),
        (read + "eor x0, x0, x1; ret", .notUnderstood, ""),
        (read + "ret", .notUnderstood, ""),
        (read + "sub x0, x1, x0; ret", .notUnderstood, ""),
        (read + "sub x1, x1, #1; sub x0, x1, x0; ret", .notUnderstood, ""),
        (read + "sub x0, x0, x1; add x2, x2, x1; ret", .notUnderstood, ""),
    ])
    func arm64Kinds(body: String, kind: TranslationSite.Kind, translated: String) throws {
        let (sites, relocated) = try arm64(body)
        #expect(sites.map(\.kind) == [kind], "\(sites)")
        #expect(sites.map(\.translated) == [translated])
        #expect(body.contains("str x0, [x1, :lo12:") || Set(sites.map(\.address)) == relocated)
    }

    /// The two halves of an address far apart, with other code, joins and loops between.
    @Test func arm64HalvesApart() throws {
        let (sites, relocated) = try arm64(
            """
            adrp x19, kimage_voffset
            b 2f
            1: mov x0, x20
            bl callee
            2: ldr x1, [x19, :lo12:kimage_voffset]
            sub x20, x20, x1
            cbnz x20, 1b
            ldr x1, [x19, :lo12:kimage_voffset]
            sub x0, x21, x1
            ret
            """)
        #expect(sites.map(\.kind) == [.register, .register])
        #expect(Set(sites.map(\.address)) == relocated && relocated.count == 2)
    }

    /// Code that only an alternative leads to knows what the rest of the function knows.
    @Test func arm64Alternative() throws {
        let (sites, relocated) = try arm64(
            """
            adrp x19, kimage_voffset
            3: b 1f
            ldr x1, [x19, :lo12:kimage_voffset]
            sub x0, x0, x1
            1: ldr x1, [x19, :lo12:kimage_voffset]
            sub x0, x0, x1
            ret
            .pushsection .altinstructions, "a"
            .word 3b - ., callee - .
            .hword 1
            .byte 4, 0
            .popsection
            """)
        #expect(sites.map(\.kind) == [.register, .register])
        #expect(Set(sites.map(\.address)) == relocated && relocated.count == 2)
    }

    /// A register that holds the address on one path only is no base to judge by.
    @Test func arm64SomePaths() throws {
        let (sites, _) = try arm64(
            "cbz x2, 1f; adrp x3, kimage_voffset; 1: ldr x1, [x3, :lo12:kimage_voffset]; sub x0, x0, x1; ret")
        #expect(sites.map(\.kind) == [.notUnderstood])
        #expect(sites.first?.remark == "reads the offset on some paths only")
    }

    /// Types of one structure: eight members of eight bytes; that of the given number is the offset.
    private static func types(_ number: Int) -> String {
        let members = (0..<8).map { ".word \($0 == number ? 1 : 0), 0, \(64 * $0)" }.joined(separator: "\n")
        return """
            .section .BTF, "a"
            .hword 0xeb9f; .byte 1, 0; .word 24, 0, 108, 108, 21
            .word 0, 0x04000008, 64
            \(members)
            .asciz "", "va_kernel_pa_offset"
            """
    }

    private func riscv64(_ body: String, types: String) throws -> (TranslationSites, place: OffsetPlace) {
        let code = """
            FUNCTION(start): \(body)
            END(start)
            FUNCTION(callee): ret
            END(callee)
            .section .rodata, "a"
            .balign 8
            .globl kernel_map; .type kernel_map, @object
            kernel_map: .fill 8, 8, 0
            END(kernel_map)
            \(types)
            """
        let (found, place, _) = try audit(code, for: "riscv64-linux-gnu", at: "0xffffffff80000000")
        return (found, place)
    }

    private static let whole = "1: auipc a5, %pcrel_hi(kernel_map); addi a5, a5, %pcrel_lo(1b); "

    @Test(arguments: [
        (whole + "ld a5, 40(a5); sub a0, a0, a5; ret", TranslationSite.Kind.register, "a0"),
        ("1: auipc a5, %pcrel_hi(kernel_map+40); ld a5, %pcrel_lo(1b)(a5); sub a0, a0, a5; ret", .register, "a0"),
        (
            "lui a5, %hi(kernel_map); addi a5, a5, %lo(kernel_map); c.ld a5, 40(a5); sub a0, a0, a5; ret", .register,
            "a0"
        ),
        (whole + "c.ld a5, 40(a5); c.sub a0, a5; ret", .register, "a0"),
        (whole + "c.mv s1, a5; call callee; ld a5, 40(s1); sub a0, s2, a5; ret", .register, "s2"),
        (whole + "addi a4, a5, 40; ld a5, 0(a4); neg a5, a5; add a0, a0, a5; ret", .register, "a0"),
        (whole + "ld a5, 40(a5); beqz a1, 2f; sub a0, a2, a5; ret; 2: sub a0, a3, a5; ret", .shared, "a2, a3"),
        (
            whole + "ld a5, 40(a5); 2: auipc a4, %pcrel_hi(callee); addi a4, a4, %pcrel_lo(2b); sub a0, a4, a5; ret",
            .constant, "callee"
        ),
        (whole + "ld a5, 40(a5); add a0, a0, a5; ret", .reverse, "a0"),
        (whole + "sd a0, 40(a5); ret", .offset, ""),
        (whole + "ld a5, 40(a5); sd a5, 0(a0); ret", .offset, ""),
        (whole + "ld a5, 40(a5); xor a0, a0, a5; ret", .notUnderstood, ""),
    ])
    func riscv64Kinds(body: String, kind: TranslationSite.Kind, translated: String) throws {
        let (found, place) = try riscv64(body, types: Self.types(5))
        #expect(place.problem == nil)
        #expect(found.skipped.isEmpty)
        #expect(found.sites.map(\.kind) == [kind], "\(found.sites)")
        #expect(found.sites.map(\.translated) == [translated])
    }

    /// Another member is none of the offset's business; where the member lies the types say, and nothing else.
    @Test func riscv64Member() throws {
        let body = Self.whole + "ld a4, 40(a5); sub a0, a0, a4; ld a4, 48(a5); add a0, a0, a4; ret"
        #expect(try riscv64(body, types: Self.types(5)).0.sites.map(\.kind) == [.register])
        #expect(try riscv64(body, types: Self.types(6)).0.sites.map(\.kind) == [.reverse])
        #expect(try riscv64(body, types: Self.types(1)).0.sites.isEmpty)
        let (found, place) = try riscv64(body, types: "")
        #expect(place.problem?.contains("no types (BTF)") == true)
        #expect(found.sites.map(\.kind) == [.notUnderstood, .notUnderstood])
    }
}
