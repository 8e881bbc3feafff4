// SPDX-License-Identifier: MIT

// Page tables as they lie in memory: pages of 512 entries, each the physical
// address of another table or of a frame, in x86-64's form. Those of the image
// are built at the start from its layout, those of the rest when a walk comes
// there first. Tables lie one behind another in the order they were made.

import Addressing

/// The tables of one layout.
@safe struct PageTables {
    /// 64 MB of tables, which map 32 GB in single pages.
    static let mostTables = 1 << 14
    private static let present: UInt64 = 1
    private static let leaf: UInt64 = 1 << 7
    private static let addressBits: UInt64 = 0x000f_ffff_ffff_f000

    private let space: AddressSpace
    private var entries: [UInt64] = []
    /// Why a walk came to no page.
    private(set) var obstacle: Simulation.Obstacle?

    init(_ layout: Layout, _ space: AddressSpace) {
        self.space = space
        entries = [UInt64](repeating: 0, count: 512)
        let first = layout.virtualBase.rawValue >> 12
        for (page, frame) in layout.frames.enumerated() {
            let number = first + UInt64(page)
            if layout.isInBlocks {
                map(number & ~511, frame - number & 511, level: 2)
            } else {
                map(number, frame, level: 1)
            }
        }
    }

    private static func address(of place: Int) -> UInt64 { AddressSpace.tables << 12 + UInt64(place) * 8 }

    /// The physical addresses that a walk reads between two levels, the first one above.
    ///
    /// - Returns: how many there were (they are in `addresses`, the one at the top first), and the page's frame.
    @inline(__always)
    mutating func walk(
        to number: UInt64, from top: Int, leaf: Int, _ addresses: UnsafeMutablePointer<UInt64>
    ) -> (count: Int, frame: UInt64) {
        var table = 0
        var at = 4
        var count = 0
        guard AddressSpace.isCanonical(page: number) else {
            obstacle = .address
            return (0, 0)
        }
        while true {
            let place = table << 9 | Int(truncatingIfNeeded: number >> UInt64(9 &* (at &- 1)) & 511)
            if at <= top {
                unsafe addresses[count] = Self.address(of: place)
                count &+= 1
            }
            var entry = entries[place]
            if entry & Self.present == 0 {
                let beyond = (UInt64(1) << UInt64(9 &* (leaf &- 1))) &- 1
                map(number, space.frame(ofPage: number & ~beyond), level: leaf)
                if obstacle != nil { return (count, 0) }
                entry = entries[place]
            }
            if at == leaf {
                let within = number & ((UInt64(1) << UInt64(9 &* (leaf &- 1))) &- 1)
                return (count, (entry & Self.addressBits) >> 12 &+ within)
            }
            table = Int(truncatingIfNeeded: (entry & Self.addressBits) >> 12 &- AddressSpace.tables)
            at &-= 1
        }
    }

    var tableCount: Int { entries.count >> 9 }

    private mutating func map(_ number: UInt64, _ frame: UInt64, level: Int) {
        var table = 0
        var at = 4
        while at > level {
            let place = table << 9 | Int(number >> UInt64(9 * (at - 1)) & 511)
            if entries[place] & Self.present == 0 {
                guard tableCount < Self.mostTables else {
                    obstacle = .memory
                    return
                }
                entries[place] = (AddressSpace.tables + UInt64(tableCount)) << 12 | Self.present
                entries += repeatElement(0, count: 512)
            }
            table = Int((entries[place] & Self.addressBits) >> 12 - AddressSpace.tables)
            at -= 1
        }
        let place = table << 9 | Int(number >> UInt64(9 * (level - 1)) & 511)
        entries[place] = frame << 12 | Self.present | (level > 1 ? Self.leaf : 0)
    }
}
