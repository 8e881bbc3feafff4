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
}
