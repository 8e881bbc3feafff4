// SPDX-License-Identifier: MIT

// Page tables, walked by us in the guest's memory as the processor would. What
// x86-64 and RISC-V share is said here: nine bits of the address a level, leaves
// above the lowest. What an entry says is PageTableFormat.swift.

import Addressing

/// Where a virtual address leads, and what may be done there in kernel mode.
struct Translation: Equatable {
    var physical: PhysicalAddress
    var writable: Bool
    var executable: Bool
}

struct PageTables: Equatable {
    static let addressMask: UInt64 = 0x000f_ffff_ffff_f000

    var root: PhysicalAddress
    /// 3 (Sv39 only), 4 or 5.
    var levels: Int
    var format = PageTableFormat.x86

    /// One entry, and what the levels above it allow.
    private struct Step {
        var address: PhysicalAddress
        var isLeaf: Bool
        var level: Int
        var writable: Bool
        var executable: Bool

        var span: UInt64 { 1 << UInt64(12 + 9 * (level - 1)) }
    }

    private func step(
        _ memory: borrowing GuestMemory, table: PhysicalAddress, index: Int, level: Int, writable: Bool,
        executable: Bool
    ) -> Step? {
        guard let word = memory.word(at: table + UInt64(index * 8)), let entry = format.read(word, level: level) else {
            return nil
        }
        return Step(
            address: entry.address, isLeaf: entry.isLeaf, level: level, writable: writable && entry.writable,
            executable: executable && entry.executable)
    }

    /// The translation of `address`, or nil when it is not mapped.
    func translate(_ address: VirtualAddress, in memory: borrowing GuestMemory) -> Translation? {
        var table = root
        var writable = true
        var executable = true
        for level in (1...levels).reversed() {
            let index = Int(address.rawValue >> UInt64(12 + 9 * (level - 1))) & 511
            guard
                let step = step(
                    memory, table: table, index: index, level: level, writable: writable, executable: executable)
            else { return nil }
            if step.isLeaf {
                let physical = step.address + (address.rawValue & (step.span - 1))
                return Translation(physical: physical, writable: step.writable, executable: step.executable)
            }
            (table, writable, executable) = (step.address, step.writable, step.executable)
        }
        return nil
    }

    /// Every mapping in the kernel's half of the addresses that leads into `frames`, one a page.
    func kernelMappings(
        of frames: Range<PhysicalAddress>, in memory: borrowing GuestMemory
    ) -> [(address: VirtualAddress, translation: Translation)] {
        var found: [(VirtualAddress, Translation)] = []
        var barren: Set<UInt64> = []
        func visit(
            _ memory: borrowing GuestMemory, _ table: PhysicalAddress, _ level: Int, _ base: UInt64, _ writable: Bool,
            _ executable: Bool
        ) {
            let before = found.count
            let key = table.rawValue | UInt64(level)
            if barren.contains(key) { return }
            for index in (level == levels ? 256 : 0)..<512 {
                guard
                    let step = step(
                        memory, table: table, index: index, level: level, writable: writable, executable: executable)
                else { continue }
                let start = base | UInt64(index) << UInt64(12 + 9 * (level - 1))
                if step.isLeaf {
                    let low = max(step.address, frames.lowerBound)
                    let high = min(step.address + step.span, frames.upperBound)
                    var frame = low
                    while frame < high {
                        found.append(
                            (
                                VirtualAddress(start + (frame - step.address)),
                                Translation(physical: frame, writable: step.writable, executable: step.executable)
                            ))
                        frame = frame + UInt64(pageSize)
                    }
                } else if level > 1 {
                    visit(memory, step.address, level - 1, start, step.writable, step.executable)
                }
            }
            if found.count == before { barren.insert(key) }
        }
        let signBits = UInt64.max << UInt64(12 + 9 * levels)
        visit(memory, root, levels, signBits, true, true)
        return found
    }

    /// The kernel's root where this is the user half of a pair: with page-table isolation CR3 bit 12 picks the user
    /// table, which lacks most of the kernel. Both halves differ in the last entry, which maps the image.
    ///
    /// - Parameter topLevel: the kernel's own root, whose last entry every kernel root shares.
    func kernelRoot(topLevel: PhysicalAddress?, in memory: borrowing GuestMemory) -> PageTables {
        guard format == .x86, let topLevel, let wanted = memory.word(at: topLevel + 511 * 8),
            memory.word(at: root + 511 * 8).map({ $0 & Self.addressMask }) != wanted & Self.addressMask
        else { return self }
        return PageTables(root: PhysicalAddress(root.rawValue & ~UInt64(pageSize)), levels: levels)
    }
}
