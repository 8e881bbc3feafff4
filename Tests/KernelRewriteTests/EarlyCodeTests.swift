// SPDX-License-Identifier: MIT

// Following code from the kernel's entries up to where its mapping is live. The
// small kernels have three kinds of pages: `.text` (first), `.other`, `.data`.

import Addressing
import KernelImage
import PagePermutation
import Testing

@testable import KernelRewrite

struct EarlyCodeTests {
    /// Code in a page of its own that must not be reached.
    private static let unreached = """
        .section .other, "ax", @progbits
        .balign 4096
        FUNCTION(other): mov beyond(%rip), %rax; hlt
        END(other)
        .data
        .balign 4096
        beyond: .quad 0
        """

    private func pinned(_ kernel: SmallKernel) throws -> Set<Int> {
        Set(try kernel.earlyCode().pins.flatMap(\.pages))
    }

    private func refused(_ kernel: SmallKernel) -> String? {
        refusal { () throws(RewriteError) in _ = try kernel.earlyCode() }
    }

    /// Every form of reference pins its page.
    @Test(arguments: [
        "mov beyond(%rip), %rax", "lea beyond(%rip), %rax", "movq $beyond, %rax", "mov $PA(beyond), %eax",
        "movabsq $beyond, %rax", "mov PA(beyond), %eax", "call other",
    ])
    func referencesArePinned(instruction: String) throws {
        let kernel = try SmallKernel(
            "FUNCTION(start): \(instruction); hlt\nEND(start)\n\(Self.unreached)", names: ["beyond", "other"])
        let pages = try pinned(kernel)
        let expected = try [kernel.page("_text"), kernel.page("beyond")]
        #expect(pages.isSuperset(of: expected))
        #expect(pages.count == (instruction.hasPrefix("call") ? 3 : 2))
    }

    @Test(arguments: ["jmp *%rax", "jmp *(%rax)", "ret", "lretq", "hlt", "ud2", "iretq"])
    func pathEnds(instruction: String) throws {
        let kernel = try SmallKernel(
            "FUNCTION(start): \(instruction); call other\nEND(start)\n\(Self.unreached)", names: ["other"])
        #expect(try pinned(kernel) == [kernel.page("_text")])
    }

    @Test(arguments: ["je", "jmp", "loop", "jrcxz"])
    func branchesAreFollowed(instruction: String) throws {
        let kernel = try SmallKernel(
            "FUNCTION(start): \(instruction) 1f; hlt; 1: call other; hlt\nEND(start)\n\(Self.unreached)",
            names: ["other", "beyond"])
        #expect(try pinned(kernel) == [kernel.page("_text"), kernel.page("other"), kernel.page("beyond")])
    }

    /// `panic` never returns: what stands behind the call is not reached, nor is `panic` itself.
    @Test func haltsEndThePath() throws {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): call panic; mov other(%rip), %rax; hlt
            END(start)
            .section .other, "ax", @progbits
            FUNCTION(other): nop
            FUNCTION(panic): hlt
            END(panic)
            """)
        #expect(try pinned(kernel) == [kernel.page("_text")])
    }

    /// A function that only reports is not followed, and the path goes on behind it.
    @Test func reportsAreStepped() throws {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): call _printk; mov beyond(%rip), %rax; hlt
            END(start)
            .section .other, "ax", @progbits
            FUNCTION(_printk): ret
            END(_printk)
            .data
            beyond: .quad 0
            """, names: ["beyond"])
        #expect(try pinned(kernel) == [kernel.page("_text"), kernel.page("beyond")])
    }

    /// The PVH entry is 32-bit code; its far jump leads on in 64-bit mode. `0x48` is `dec %eax` in the one and a
    /// prefix in the other, so that a wrong mode reads another address.
    @Test func farJumpSwitchesMode() throws {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): hlt
            END(start)
            .code32
            FUNCTION(pvh): mov $PA(first), %eax
                dec %eax
                ljmp $0x10, $PA(long)
            .code64
            long: mov second(%rip), %rax
                jmp *%rax
            END(pvh)
            .section .notes, "a", @note
            .long 4, 8, 18
            .asciz "Xen"
            .quad PA(pvh)
            .data
            .balign 4096
            first: .quad 0
            .balign 4096
            second: .quad 0
            """, names: ["first", "second"])
        #expect(EarlyCode.pvhEntry(kernel.image) == 0x100_0001)
        #expect(try pinned(kernel) == [kernel.page("_text"), kernel.page("first"), kernel.page("second")])
    }

    @Test func undecodableIsRefused() throws {
        let kernel = try SmallKernel("FUNCTION(start): .byte 0x06\nEND(start)")
        #expect(
            refused(kernel) == "\(kernel.image.path): early code at 0xffffffff81000000 does not decode: "
                + "kperm cannot tell what it touches")
    }

    /// Running on past the end of what is loaded is no code, either.
    @Test func runningOutIsRefused() throws {
        let kernel = try SmallKernel("FUNCTION(start): jmp beyond\nEND(start)\n.data\nbeyond: .fill 4096, 1, 0x90")
        #expect(refused(kernel) == nil, "data is not code: not followed")
        let cut = try SmallKernel("FUNCTION(start): .fill 4095, 1, 0x90\n.byte 0x48\nEND(start)")
        #expect(refused(cut)?.contains("does not decode") == true)
    }

    @Test func endlessCallsAreRefused() throws {
        let calls = (0...Rules.earlyFunctionLimit).map { "FUNCTION(f\($0)): call f\($0 + 1); ret\nEND(f\($0))" }
        let last = Rules.earlyFunctionLimit + 1
        let kernel = try SmallKernel(
            "FUNCTION(start): call f0; hlt\nEND(start)\n" + calls.joined(separator: "\n")
                + "\nFUNCTION(f\(last)): ret\nEND(f\(last))")
        #expect(refused(kernel)?.contains("more than \(Rules.earlyFunctionLimit) functions") == true)
    }

    /// A stack is named by its end and used below it: all its pages are pinned, and not the page behind it.
    @Test func stackIsPinnedWhole() throws {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): lea stack_end(%rip), %rsp; hlt
            END(start)
            .data
            .balign 4096
            .type stack, @object
            stack: .skip 8192
            .size stack, 8192
            stack_end: .quad 0
            """, names: ["stack", "stack_end"])
        let stack = try kernel.page("stack")
        #expect(try pinned(kernel) == [kernel.page("_text"), stack, stack + 1])
    }

    /// An object that early code names is pinned with all its pages.
    @Test func objectIsPinnedWhole() throws {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): lea object+16(%rip), %rdi; hlt
            END(start)
            .data
            .balign 4096
            .skip 4000
            .type object, @object
            object: .skip 4200
            .size object, 4200
            """, names: ["object"])
        let first = try kernel.page("object")
        #expect(try pinned(kernel) == [kernel.page("_text"), first, first + 1, first + 2])
    }

    /// A call that ends its function does not return: what lies behind is another function.
    @Test func callAtTheEndOfAFunctionEndsThePath() throws {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): call stop
            END(start)
            FUNCTION(next): call other; hlt
            END(next)
            FUNCTION(stop): hlt
            END(stop)
            \(Self.unreached)
            """, names: ["other"])
        #expect(try pinned(kernel) == [kernel.page("_text")])
    }

    /// Newer PVH entries run wherever they are loaded: a register holds the entry's own address, and everything is
    /// named by its distance from there.
    @Test func codeThatFindsItselfIsFollowed() throws {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): hlt
            END(start)
            .code32
            FUNCTION(pvh): call 1f
            1:  pop %ebp
                sub $(1b - pvh), %ebp
                test %eax, %eax
                je 2f
                lea (first - pvh)(%ebp), %eax
            2:  push $8
                lea (long - pvh)(%ebp), %eax
                push %eax
                lret
            .code64
            long: mov second(%rip), %rax
                jmp *%rax
            END(pvh)
            .section .notes, "a", @note
            .long 4, 8, 18
            .asciz "Xen"
            .quad PA(pvh)
            .data
            .balign 4096
            first: .quad 0
            .balign 4096
            second: .quad 0
            """, names: ["first", "second"])
        #expect(try pinned(kernel) == [kernel.page("_text"), kernel.page("first"), kernel.page("second")])
    }
}
