// SPDX-License-Identifier: MIT

// Where a kernel lies whose place was not known beforehand. Linux unmaps what
// its image does not cover, so in the gigabyte of addresses that the image can
// lie in (modules follow it) the lowest page is the image's first, `_text`,
// at a multiple of 2 MB.

import Addressing
import PagePermutation

/// The addresses of a kernel's first page.
struct KernelBase: Equatable {
    static let addresses = VirtualAddress(0xffff_ffff_8000_0000)..<VirtualAddress(0xffff_ffff_c000_0000)
    static let alignment: UInt64 = 2 << 20

    var virtual: VirtualAddress
    var physical: PhysicalAddress

    /// Searches the page tables of all CPUs for an image of so many pages; the kernel must be past its early start.
    init?(in roots: [PageTables], pageCount: Int, _ memory: borrowing GuestMemory) {
        var best: (base: KernelBase, mapped: Int)?
        for tables in roots.flatMap(\.bothHalves) {
            guard let lowest = tables.lowestMapping(in: Self.addresses, memory),
                lowest.virtual.rawValue % Self.alignment == 0
            else { continue }
            var mapped = 0
            for page in 0..<pageCount {
                let address = lowest.virtual + UInt64(page * pageSize)
                if tables.translate(address, in: memory) != nil { mapped += 1 }
            }
            if mapped > best?.mapped ?? 0 { best = (lowest, mapped) }
        }
        guard let best else { return nil }
        self = best.base
    }

    fileprivate init(virtual: VirtualAddress, physical: PhysicalAddress) {
        self.virtual = virtual
        self.physical = physical
    }

    /// The table of a kernel that is not permuted.
    func identity(pageCount: Int) -> TranslationTable {
        TranslationTable(
            Permutation(identity: pageCount), virtualBase: virtual, physicalBase: physical, isBaked: false)
    }
}

extension PageTables {
    /// This root, and the kernel's half if this may be the user half of a page-table-isolation pair: the latter maps
    /// less of the kernel.
    fileprivate var bothHalves: [PageTables] {
        let kernel = PhysicalAddress(root.rawValue & ~UInt64(pageSize))
        return kernel == root || format != .x86 ? [self] : [self, PageTables(root: kernel, levels: levels)]
    }

    fileprivate func lowestMapping(
        in addresses: Range<VirtualAddress>, _ memory: borrowing GuestMemory
    ) -> KernelBase? {
        var address = addresses.lowerBound
        while address < addresses.upperBound {
            if let found = translate(address, in: memory) {
                return KernelBase(virtual: address, physical: found.physical)
            }
            address = address + UInt64(pageSize)
        }
        return nil
    }
}
