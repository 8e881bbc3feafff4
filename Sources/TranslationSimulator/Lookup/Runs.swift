// SPDX-License-Identifier: MIT

// A permutation as runs: pages whose frames follow one another. A granule of
// 2 MB gives few of them, one of 4 KB nearly as many as there are pages.

import PagePermutation

/// Pages that follow one another in frames that do.
struct Run: BitwiseCopyable {
    var first: UInt32
    /// What to add to a number in the run to get to the other side, modulo 2^32.
    var distance: UInt32

    /// The runs of one direction of a table, in ascending order.
    static func all(_ entries: [UInt32]) -> [Run] {
        var runs: [Run] = []
        for (i, entry) in entries.enumerated() {
            let distance = entry &- UInt32(i)
            if runs.last?.distance != distance { runs.append(Run(first: UInt32(i), distance: distance)) }
        }
        return runs
    }

    @inline(__always)
    func other(_ number: UInt64) -> UInt64 { UInt64(UInt32(truncatingIfNeeded: number) &+ distance) }
}
