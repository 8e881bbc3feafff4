// SPDX-License-Identifier: MIT

// A guest made of values: a few megabytes of "RAM" with an image of eight
// pages in it, mapped by page tables that a test builds entry by entry. No
// QEMU, no kernel.

import Addressing
import PagePermutation

@testable import GuestCheck

/// Builds page tables in guest memory, a table a page, from `next` upwards.
struct TableBuilder {
    static let present: UInt64 = 1
    static let writable: UInt64 = 2
    static let large: UInt64 = 1 << 7
    static let noExecute: UInt64 = 1 << 63

    let levels: Int
    let root: UInt64
    let format: PageTableFormat
    private var next: UInt64
    private var words: [UInt64: UInt64] = [:]

    init(levels: Int, at root: UInt64, format: PageTableFormat = .x86) {
        self.levels = levels
        self.root = root
        self.format = format
        next = root + 0x1000
    }

    /// An entry that leads to a table, and the table that an entry leads to.
    private func pointer(to table: UInt64) -> UInt64 {
        format == .x86 ? table | Self.present | Self.writable : table >> 2 | Self.present
    }
    private func table(of entry: UInt64) -> UInt64 {
        format == .x86 ? entry & PageTables.addressMask : (entry >> 10) << 12
    }

    private func leaf(_ physical: UInt64, _ level: Int, _ flags: UInt64) -> UInt64 {
        switch format {
        case .x86: return physical | flags | Self.present | (level > 1 ? Self.large : 0)
        case .riscv:
            let rights = (flags & Self.writable) << 1 | (flags & Self.noExecute == 0 ? 8 : 0)
            return physical >> 2 | Self.present | 2 | rights
        }
    }

    /// Maps one leaf; `level` 1, 2 or 3 for 4 KB, 2 MB or 1 GB. Flags are those of x86-64.
    mutating func map(_ address: UInt64, to physical: UInt64, level: Int = 1, flags: UInt64) {
        var table = root
        for step in (level..<levels).reversed().map({ $0 + 1 }) {
            let place = entry(table, address, step)
            if words[place] == nil {
                words[place] = pointer(to: next)
                next += 0x1000
            }
            table = self.table(of: words[place, default: 0])
        }
        words[entry(table, address, level)] = leaf(physical, level, flags)
    }

    mutating func unmap(_ address: UInt64) {
        var table = root
        for step in (2...levels).reversed() {
            table = self.table(of: words[entry(table, address, step), default: 0])
        }
        words[entry(table, address, 1)] = 0x7000
    }

    private func entry(_ table: UInt64, _ address: UInt64, _ level: Int) -> UInt64 {
        table + (address >> UInt64(12 + 9 * (level - 1)) & 511) * 8
    }

    func write(into memory: borrowing GuestMemory) {
        for (place, word) in words {
            memory.write((0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }, atOffset: Int(place))
        }
    }

    var tables: PageTables { PageTables(root: PhysicalAddress(root), levels: levels, format: format) }
}

/// Two pages of text, two of rodata, two of data, one of bss, one freed; the two of text have
/// traded places, and the two of data.
struct SyntheticGuest {
    static let base: UInt64 = 0xffff_ffff_8100_0000
    static let frames: UInt64 = 0x20_0000
    static let linearMap: UInt64 = 0xffff_8880_0000_0000
    /// Where a RISC-V kernel has its linear map in Sv39; in the kernel's half in each mode.
    static let narrowLinearMap: UInt64 = 0xffff_ffd8_0000_0000
    static let order: [UInt32] = [1, 0, 2, 3, 5, 4, 6, 7]

    var builder: TableBuilder
    var expectation: GuestExpectation
    private var pages: [[UInt8]]

    init(_ format: PageTableFormat = .x86, levels: Int = 4) throws {
        builder = TableBuilder(levels: levels, at: 0x10_0000, format: format)
        let pages = (0..<8).map { page in (0..<pageSize).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ page) } }
        let problem = try PermutationProblem(pageCount: 8, classes: [PageClass(name: "all", ranges: [0..<8])])
        let permutation = try Permutation(forward: Self.order, for: problem)
        expectation = GuestExpectation(
            kernelPath: "",
            table: TranslationTable(
                permutation, virtualBase: VirtualAddress(Self.base), physicalBase: PhysicalAddress(Self.frames)),
            topLevelPageTable: PhysicalAddress(0x10_0000), stubEnd: VirtualAddress(Self.base),
            pages: [.text, .text, .rodata, .rodata, .data, .data, .bss, .initMemory],
            contents: { pages[$0.index] }, userspace: .selfChecking)
        self.pages = pages
        for page in 0..<8 {
            let physical = Self.frames + UInt64(Self.order[page]) * 0x1000
            let flags = (page < 2 ? 0 : TableBuilder.noExecute) | (page < 4 ? 0 : TableBuilder.writable)
            builder.map(Self.base + UInt64(page) * 0x1000, to: physical, flags: flags)
            let linearMap = format == .x86 ? Self.linearMap : Self.narrowLinearMap
            builder.map(linearMap + physical, to: physical, flags: TableBuilder.noExecute)
        }
    }

    mutating func change(_ page: Int, offset: Int) { pages[page][offset] ^= 0x40 }

    /// Eight megabytes of RAM with all this in it.
    func memory() throws -> GuestMemory {
        var memory = try GuestMemory(size: 8 << 20)
        memory.map = MemoryMap(pieces: [MemoryMap.Piece(guest: 0..<8 << 20, offset: 0)])
        for (page, bytes) in pages.enumerated() {
            memory.write(bytes, atOffset: Int(Self.frames) + Int(Self.order[page]) * pageSize)
        }
        builder.write(into: memory)
        return memory
    }

    func stubFailures() throws -> [String] {
        expectation.lookAtStub(builder.tables, try memory()).checks.filter { $0.outcome == .fail }.map(\.name)
    }

    func userspaceFailures() throws -> [String] {
        expectation.lookAtUserspace([builder.tables], try memory()).checks.filter { $0.outcome == .fail }.map(\.name)
    }
}
