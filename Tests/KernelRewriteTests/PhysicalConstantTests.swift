// SPDX-License-Identifier: MIT

// What one physical constant pins: the whole of what it names.

import Addressing
import KernelImage
import PagePermutation
import Testing

@testable import KernelRewrite

struct PhysicalConstantTests {
    private func pinned(_ data: String) throws -> Set<Int> {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): movabsq $PA(named), %rax; hlt
            END(start)
            .data
            .balign 4096
            \(data)
            """, names: ["named"])
        let first = try kernel.page("named")
        return Set(try kernel.physicalConstants().pins.flatMap(\.pages).map { $0 - first })
    }

    @Test func anObjectWithAllItsPages() throws {
        #expect(
            try pinned(".type named, @object; named: .skip 8193; .size named, 8193; .balign 4096; .quad 0")
                == [0, 1, 2])
    }

    /// A marker of the linker's has no size: it names all up to the next symbol.
    @Test func aMarkerUpToTheNextSymbol() throws {
        #expect(try pinned(".quad 0; .balign 4096; named: .skip 8192; other: .quad 0") == [0, 1])
    }

    /// A constant that has no name, a string, say, is no marker: the next symbol may be far away.
    @Test func aNamelessConstantNoFurtherThanOneReaches() throws {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): mov $0x80000000, %eax; mov (%rdi), %rdx; lea before+4104(%rax,%rdx), %rax; hlt
            END(start)
            .data
            .balign 4096
            .type before, @object; before: .skip 8; .size before, 8
            .skip 20480; after: .quad 0
            """, names: ["before"])
        let first = try kernel.page("before")
        #expect(Set(try kernel.physicalConstants().pins.flatMap(\.pages).map { $0 - first }) == [1, 2])
    }
}
