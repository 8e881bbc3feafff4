// SPDX-License-Identifier: MIT

/// What somebody who reads some bytes learns of a permutation.
struct Revealed: Equatable {
    /// Moved pages whose frame is told.
    var pages: Set<Int> = []
    var seed = false
    /// Where the image begins in physical memory. That is KASLR's secret, and not the permutation's.
    var base = false

    mutating func formUnion(_ other: Revealed) {
        pages.formUnion(other.pages)
        seed = seed || other.seed
        base = base || other.base
    }
}
