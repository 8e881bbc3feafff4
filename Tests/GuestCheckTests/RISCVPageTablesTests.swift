// SPDX-License-Identifier: MIT

// Page tables of RISC-V in each mode, and looks at a guest that has them.

import Addressing
import Testing

@testable import GuestCheck

struct RISCVPageTablesTests {
    private func memory() throws -> GuestMemory {
        var memory = try GuestMemory(size: 4 << 20)
        memory.map = MemoryMap(pieces: [MemoryMap.Piece(guest: 0..<4 << 20, offset: 0)])
        return memory
    }

    private func put(_ word: UInt64, at offset: Int, in memory: borrowing GuestMemory) {
        memory.write((0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }, atOffset: offset)
    }

    @Test(arguments: PagingMode.allCases, [1, 2, 3])
    func leafOfEachSize(mode: PagingMode, level: Int) throws {
        var builder = TableBuilder(levels: mode.levels, at: 0x10_0000, format: .riscv)
        // The lowest address of the kernel's half that has something in each field.
        let base = UInt64.max << UInt64(mode.bits - 1) | 0x1_4000_0000
        builder.map(base, to: 0x1_4000_0000, level: level, flags: TableBuilder.noExecute)
        let memory = try memory()
        builder.write(into: memory)
        let last: UInt64 = 1 << UInt64(12 + 9 * (level - 1)) - 1
        for offset in [0, 0x123, last] {
            #expect(
                builder.tables.translate(VirtualAddress(base + offset), in: memory)
                    == Translation(
                        physical: PhysicalAddress(0x1_4000_0000 + offset), writable: false, executable: false))
        }
        #expect(builder.tables.translate(VirtualAddress(base + last + 1), in: memory) == nil)
        #expect(builder.tables.translate(VirtualAddress(base ^ 1 << UInt64(mode.bits - 1)), in: memory) == nil)
        let found = builder.tables.kernelMappings(
            of: PhysicalAddress(0x1_4000_0000)..<PhysicalAddress(0x1_4000_3000), in: memory)
        #expect(found.count == min(3, Int((last + 1) / 4096)))
        #expect(found.first?.address == VirtualAddress(base))
    }

    /// One set of tables, as the sample kernel has it: what is the root in a narrow mode is a level further down in a
    /// wide one.
    @Test(arguments: PagingMode.allCases) func foldedLevels(mode: PagingMode) throws {
        let memory = try memory()
        let roots: [PagingMode: UInt64] = [.sv57: 0x10_0000, .sv48: 0x10_1000, .sv39: 0x10_2000]
        let pointers: [(table: Int, slot: Int, next: UInt64)] = [
            (0x10_0000, 511, 0x10_1000), (0x10_1000, 511, 0x10_2000), (0x10_2000, 510, 0x10_3000),
            (0x10_3000, 0, 0x10_4000),
        ]
        for (table, slot, next) in pointers { put(next >> 2 | 1, at: table + 8 * slot, in: memory) }
        put(0x20_5000 >> 2 | 0xeb, at: 0x10_4000 + 8 * 7, in: memory)
        let root = try #require(roots[mode])
        let tables = PageTables(root: PhysicalAddress(root), levels: mode.levels, format: .riscv)
        #expect(
            tables.translate(VirtualAddress(0xffff_ffff_8000_7123), in: memory)
                == Translation(physical: PhysicalAddress(0x20_5123), writable: false, executable: true))
        #expect(tables.translate(VirtualAddress(0xffff_ffff_8000_8000), in: memory) == nil)
    }

    /// An entry's rights are its own: one that leads to a table has none and takes none away.
    @Test(
        arguments: [
            (0x3, false, false), (0x7, true, false), (0xb, false, true), (0xf, true, true), (0x9, false, true),
        ] as [(UInt64, Bool, Bool)])
    func rights(bits: UInt64, writable: Bool, executable: Bool) {
        let entry = PageTableFormat.riscv.read(0x20_0000 >> 2 | bits, level: 1)
        #expect(entry?.isLeaf == true && entry?.writable == writable && entry?.executable == executable)
        #expect(entry?.address == PhysicalAddress(0x20_0000))
        let table = PageTableFormat.riscv.read(0x20_0000 >> 2 | 1, level: 2)
        #expect(table?.isLeaf == false && table?.writable == true && table?.executable == true)
    }

    /// What the processor would not follow: not valid, reserved rights, no leaf at the last level, a large leaf that
    /// begins within another; and bits above the frame are not a part of it.
    @Test func entriesThatFault() {
        let frame: UInt64 = 0x20_0000 >> 2
        #expect(PageTableFormat.riscv.read(frame | 0xe, level: 1) == nil)
        #expect(PageTableFormat.riscv.read(frame | 0x5, level: 1) == nil)
        #expect(PageTableFormat.riscv.read(frame | 0xd, level: 1) == nil)
        #expect(PageTableFormat.riscv.read(frame | 0x1, level: 1) == nil)
        #expect(PageTableFormat.riscv.read(frame | 0xf, level: 2) != nil)
        #expect(PageTableFormat.riscv.read((0x20_1000 >> 2) | 0xf, level: 2) == nil)
        #expect(PageTableFormat.riscv.read(frame | 0xf, level: 3) == nil)
        #expect(
            PageTableFormat.riscv.read(frame | 0xf | 0xffc0 << 48, level: 1)?.address == PhysicalAddress(0x20_0000))
    }

    @Test(arguments: PagingMode.allCases) func rightGuestPasses(mode: PagingMode) throws {
        var guest = try SyntheticGuest(.riscv, levels: mode.levels)
        guest.expectation.demandedLevels = mode.levels
        #expect(try guest.stubFailures().isEmpty)
        #expect(try guest.userspaceFailures().isEmpty)
        let seen = guest.expectation.lookAtUserspace([guest.builder.tables], try guest.memory())
        #expect(seen.checks.first { $0.name == "paging-mode" }?.detail == "Sv\(mode.bits) on 1 CPUs")
        #expect(seen.checks.first { $0.name == "aliases" }?.detail.hasPrefix("4 other mappings") == true)
    }

    /// A page that is not in the table's frame is found, in each mode; so is one with rights it must not have.
    @Test(arguments: PagingMode.allCases) func wrongGuestIsCaught(mode: PagingMode) throws {
        var elsewhere = try SyntheticGuest(.riscv, levels: mode.levels)
        elsewhere.builder.map(
            SyntheticGuest.base, to: SyntheticGuest.frames + 0x2000, flags: 0)
        #expect(try elsewhere.stubFailures() == ["stub-mapping", "stub-bytes"])
        var unmapped = try SyntheticGuest(.riscv, levels: mode.levels)
        unmapped.builder.unmap(SyntheticGuest.base + 0x4000)
        #expect(try unmapped.userspaceFailures() == ["userspace-mapping"])
        var writable = try SyntheticGuest(.riscv, levels: mode.levels)
        writable.builder.map(SyntheticGuest.base, to: SyntheticGuest.frames + 0x1000, flags: TableBuilder.writable)
        #expect(try writable.userspaceFailures() == ["rights"])
        var alias = try SyntheticGuest(.riscv, levels: mode.levels)
        alias.builder.map(
            SyntheticGuest.narrowLinearMap + SyntheticGuest.frames, to: SyntheticGuest.frames,
            flags: TableBuilder.writable | TableBuilder.noExecute)
        #expect(try alias.userspaceFailures() == ["aliases"])
        var wide = try SyntheticGuest(.riscv, levels: mode.levels)
        wide.expectation.demandedLevels = mode.levels == 3 ? 4 : 3
        #expect(try wide.userspaceFailures() == ["paging-mode"])
    }
}
