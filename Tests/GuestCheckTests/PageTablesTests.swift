// SPDX-License-Identifier: MIT

import Addressing
import Testing

@testable import GuestCheck

struct PageTablesTests {
    private func memory() throws -> GuestMemory {
        var memory = try GuestMemory(size: 4 << 20)
        memory.map = MemoryMap(pieces: [MemoryMap.Piece(guest: 0..<4 << 20, offset: 0)])
        return memory
    }

    @Test(arguments: [4, 5], [1, 2, 3])
    func leafOfEachSize(levels: Int, level: Int) throws {
        var builder = TableBuilder(levels: levels, at: 0x10_0000)
        let base: UInt64 = levels == 5 ? 0xff11_0000_4000_0000 : 0xffff_8880_4000_0000
        builder.map(base, to: 0x1_4000_0000, level: level, flags: TableBuilder.writable)
        let memory = try memory()
        builder.write(into: memory)
        let last: UInt64 = 1 << UInt64(12 + 9 * (level - 1)) - 1
        for offset in [0, 0x123, last] {
            let found = builder.tables.translate(VirtualAddress(base + offset), in: memory)
            #expect(
                found
                    == Translation(
                        physical: PhysicalAddress(0x1_4000_0000 + offset), writable: true, executable: true))
        }
        #expect(builder.tables.translate(VirtualAddress(base + last + 1), in: memory) == nil)
        #expect(builder.tables.translate(VirtualAddress(base ^ 1 << 47), in: memory) == nil)
        let found = builder.tables.kernelMappings(
            of: PhysicalAddress(0x1_4000_0000)..<PhysicalAddress(0x1_4000_3000), in: memory)
        #expect(found.count == min(3, Int((last + 1) / 4096)))
        #expect(found.first?.address == VirtualAddress(base))
    }

    /// In a large leaf bit 12 is an attribute, not a part of the address.
    @Test func attributeBitOfLargeLeaf() throws {
        var builder = TableBuilder(levels: 4, at: 0x10_0000)
        builder.map(0xffff_8880_0000_0000, to: 0x20_1000, level: 2, flags: 0)
        let memory = try memory()
        builder.write(into: memory)
        let found = builder.tables.translate(VirtualAddress(0xffff_8880_0000_5000), in: memory)
        #expect(found?.physical == PhysicalAddress(0x20_5000))
    }

    /// The rights of a leaf are no wider than those of the tables above it.
    @Test func rightsOfAllLevels() throws {
        var builder = TableBuilder(levels: 4, at: 0x10_0000)
        builder.map(0xffff_8880_0000_0000, to: 0x20_0000, flags: TableBuilder.writable)
        let memory = try memory()
        builder.write(into: memory)
        let entry = PhysicalAddress(0x10_0000 + 0x111 * 8)
        let word = (memory.word(at: entry) ?? 0) & ~TableBuilder.writable | TableBuilder.noExecute
        memory.write((0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }, atOffset: Int(entry.rawValue))
        let found = builder.tables.translate(VirtualAddress(0xffff_8880_0000_0000), in: memory)
        #expect(found == Translation(physical: PhysicalAddress(0x20_0000), writable: false, executable: false))
    }

    @Test func tableOutsideMemory() throws {
        let tables = PageTables(root: PhysicalAddress(0x4000_0000), levels: 4)
        #expect(tables.translate(VirtualAddress(0xffff_ffff_8100_0000), in: try memory()) == nil)
    }
}
