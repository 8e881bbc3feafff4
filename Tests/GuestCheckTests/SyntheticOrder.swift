// SPDX-License-Identifier: MIT

// Orders of pages that nobody drew.

import Addressing
import PagePermutation

@testable import GuestCheck

enum SyntheticOrder {
    static func table(
        _ forward: [UInt32], virtualBase: UInt64 = 0xffff_ffff_9a00_0000, physicalBase: UInt64 = 0x1240_0000
    ) throws -> TranslationTable {
        let pages = 0..<forward.count
        let problem = try PermutationProblem(pageCount: pages.count, classes: [PageClass(name: "all", ranges: [pages])])
        return TranslationTable(
            try Permutation(forward: forward, for: problem), virtualBase: VirtualAddress(virtualBase),
            physicalBase: PhysicalAddress(physicalBase))
    }

    static func search(_ forward: [UInt32], seeds: [[UInt8]] = []) throws -> TableSearch {
        try TableSearch(table(forward), linkedBase: VirtualAddress(0xffff_ffff_8100_0000), seeds: seeds)
    }
}
