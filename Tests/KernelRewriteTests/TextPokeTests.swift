// SPDX-License-Identifier: MIT

// The change of `__text_poke`, on functions as compilers write them and as they
// must not be.

import Addressing
import KernelImage
import Testing

@testable import KernelRewrite

struct TextPokeTests {
    private func kernel(_ body: String, before: String = "") throws -> SmallKernel {
        try SmallKernel(
            """
            FUNCTION(start): hlt
            END(start)
            \(before)
            FUNCTION(core_kernel_text): ret
            END(core_kernel_text)
            FUNCTION(__text_poke):
            \(body)
            1:  ret
            END(__text_poke)
            """)
    }

    @Test(
        arguments: [
            ("test %eax, %eax", [0x85, 0xc0], [0x31, 0xc0]), ("test %al, %al", [0x84, 0xc0], [0x30, 0xc0]),
        ] as [(String, [UInt8], [UInt8])])
    func testBecomesXor(instruction: String, before: [UInt8], after: [UInt8]) throws {
        let kernel = try kernel("push %rbx; call core_kernel_text; check: \(instruction); jne 1f; nop")
        let found = try kernel.textPoke()
        let change = try #require(found)
        #expect(change.before == before)
        #expect(change.after == after)
        #expect(change.evidence.hasPrefix("__text_poke: test at 0xffffffff8100000"))
        #expect(change.reason.contains("page-table walk"))
        // start: hlt, core_kernel_text: ret, push, call: the test stands 8 bytes behind _text.
        #expect(change.address == VirtualAddress(SmallKernel.virtualBase + 8))
        #expect(change.fileOffset == kernel.map.fileOffset(of: VirtualAddress(SmallKernel.virtualBase + 8)))
    }

    @Test(arguments: [
        ("nop", "calls core_kernel_text 0 times where once is expected"),
        ("call start; test %eax, %eax", "calls core_kernel_text 0 times where once is expected"),
        ("jmp core_kernel_text; test %eax, %eax", "calls core_kernel_text 0 times where once is expected"),
        (
            "call core_kernel_text; test %eax, %eax; jne 1f; call core_kernel_text; test %eax, %eax",
            "calls core_kernel_text 2 times where once is expected"
        ),
        ("call core_kernel_text; mov %eax, %ebx", "where a test of its result is expected"),
        ("call core_kernel_text; test %rax, %rax", "where a test of its result is expected"),
        ("call core_kernel_text; test %ecx, %ecx", "where a test of its result is expected"),
    ])
    func refused(body: String, words: String) throws {
        let kernel = try kernel(body)
        let said = refusal { () throws(RewriteError) in _ = try kernel.textPoke() } ?? "not refused"
        #expect(said.contains("__text_poke") && said.contains(words), "\(said)")
        #expect(said.hasPrefix(kernel.image.path) && !said.contains("\n"))
    }

    @Test func oneWithoutTheOther() throws {
        for (name, missing) in [("__text_poke", "core_kernel_text"), ("core_kernel_text", "__text_poke")] {
            let kernel = try SmallKernel("FUNCTION(start): hlt\nFUNCTION(\(name)): ret\nEND(\(name))")
            let said = refusal { () throws(RewriteError) in _ = try kernel.textPoke() }
            #expect(said?.contains("has no symbol \(missing)") == true)
        }
    }

    @Test func twoOfAName() throws {
        let kernel = try kernel(
            "call core_kernel_text; test %eax, %eax", before: "FUNCTION(__text_poke.cold): ret\nEND(__text_poke.cold)")
        let said = refusal { () throws(RewriteError) in _ = try kernel.textPoke() }
        #expect(said?.contains("several symbols __text_poke") == true)
    }

    @Test func neitherNeedsNoChange() throws {
        let kernel = try SmallKernel("FUNCTION(start): hlt\nEND(start)")
        let change = try kernel.textPoke()
        #expect(change == nil)
    }
}
