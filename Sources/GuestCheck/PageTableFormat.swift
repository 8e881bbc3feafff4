// SPDX-License-Identifier: MIT

// What an entry of a page table says. x86-64: Intel SDM volume 3, 4.5; RISC-V:
// the privileged architecture, "Sv39", "Sv48" and "Sv57", which differ in the
// number of levels only.

import Addressing

enum PageTableFormat: Equatable {
    case x86, riscv

    /// One entry that is in use.
    struct Entry: Equatable {
        /// Of what it shows if it is a leaf, else of the next table.
        var address: PhysicalAddress
        var isLeaf: Bool
        /// What it allows; all of it where it leaves that to the leaves.
        var writable: Bool
        var executable: Bool
    }

    /// Reads an entry; nil if the processor would fault.
    ///
    /// - Parameter level: 1 for a table whose entries show 4 KB.
    func read(_ word: UInt64, level: Int) -> Entry? {
        let span = UInt64(1) << UInt64(12 + 9 * (level - 1))
        guard word & 1 != 0 else { return nil }
        switch self {
        case .x86:
            let isLeaf = level == 1 || (level <= 3 && word & 1 << 7 != 0)
            // In a large leaf bit 12 is an attribute.
            let address = word & PageTables.addressMask & (isLeaf ? ~(span - 1) : .max)
            return Entry(
                address: PhysicalAddress(address), isLeaf: isLeaf, writable: word & 1 << 1 != 0,
                executable: word & 1 << 63 == 0)
        case .riscv:
            let (read, write, execute) = (word & 1 << 1 != 0, word & 1 << 2 != 0, word & 1 << 3 != 0)
            let address = (word >> 10 & 0xfff_ffff_ffff) << 12
            let isLeaf = read || write || execute
            if isLeaf {
                // Writable and not readable is reserved, and a large leaf begins where it could.
                guard read || !write, address & (span - 1) == 0 else { return nil }
            } else if level == 1 {
                return nil
            }
            return Entry(
                address: PhysicalAddress(address), isLeaf: isLeaf, writable: write || !isLeaf,
                executable: execute || !isLeaf)
        }
    }
}
