// SPDX-License-Identifier: MIT

// The change of `pti_clone_pgtable`: a pointer to a table that carries the
// global bit makes the kernel's own page-table walk fail, on processors that
// need page-table isolation only. Seen as a BUG in __text_poke.

import Addressing
import KernelImage
import Testing

@testable import KernelRewrite

struct IsolationFlagTests {
    private func kernel(_ body: String, name: String = "pti_clone_pgtable") throws -> SmallKernel {
        try SmallKernel(
            """
            FUNCTION(start): hlt
            END(start)
            FUNCTION(pti_init): ret
            END(pti_init)
            FUNCTION(\(name)):
            \(body)
            ret
            END(\(name))
            """, names: ["pti_init", "pti_clone_pgtable"])
    }

    @Test(
        arguments: [
            ("or $1, %dh", [1]), ("or $0x100, %rdx", [0, 1, 0, 0]), ("or $0x100, %eax", [0, 1, 0, 0]),
        ] as [(String, [UInt8])])
    func theBitIsLeftOut(instruction: String, before: [UInt8]) throws {
        let kernel = try kernel("test $1, %dl; \(instruction); mov %rdx, (%rax)")
        let changes = try IsolationFlag.changes(kernel.image, kernel.map, kernel.symbols)
        #expect(changes.map(\.before) == [before])
        #expect(changes.map(\.after) == [[UInt8](repeating: 0, count: before.count)])
        #expect(changes.first?.evidence.contains("or at 0x") == true)
    }

    @Test func otherBitsStay() throws {
        let kernel = try kernel("or $1, %dl; or $0x200, %rcx; and $0x100, %rdx; or $1, %dh")
        let changes = try IsolationFlag.changes(kernel.image, kernel.map, kernel.symbols)
        #expect(changes.count == 1)
    }

    @Test func unknownFormIsRefused() throws {
        let kernel = try kernel("bts $8, %rdx")
        let said = refusal { () throws(RewriteError) in
            _ = try IsolationFlag.changes(kernel.image, kernel.map, kernel.symbols)
        }
        #expect(said?.contains("no instruction of pti_clone_pgtable sets the global bit") == true)
    }

    @Test func aKernelWithoutIsolationNeedsNone() throws {
        let kernel = try SmallKernel("FUNCTION(start): hlt\nEND(start)")
        let changes = try IsolationFlag.changes(kernel.image, kernel.map, kernel.symbols)
        #expect(changes.isEmpty)
    }
}
