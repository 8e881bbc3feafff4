// SPDX-License-Identifier: MIT

// The baked permutation on x86-64. The kernel maps its image by 2 MB entries of
// `level2_kernel_pgt`; each entry that shows the image becomes a pointer to a
// table of 4 KB entries, one frame a page. Those tables lie behind the image,
// with the translation table and a status text, in memory that the boot stub
// has the kernel reserve:
//
//     page tables | translation table | status (blob for debugfs)
//     4096 each   | TableLookup.swift | pointer, size, text
//
// `__startup_64` adds the load offset to the entries of `level2_kernel_pgt`, so
// this holds for an image loaded where it was linked to be.

import Addressing
import Disassembly
import KernelImage
import PagePermutation

enum Bake {
    private static let largePage = 21
    private static let entriesPerTable = 512
    private static let pageSizeBit: UInt64 = 0x80
    private static let addressMask: UInt64 = 0x000f_ffff_ffff_f000
    /// Present, writable, accessed, dirty: what the kernel gives its own intermediate tables.
    private static let tableFlags: UInt64 = 0x63

    static func bake(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ table: TranslationTable, _ seedSource: String,
        _ instrumentation: Instrumentation?
    ) throws(RewriteError) -> Baked {
        let map = analysis.map
        let behind = try placeBehind(image)
        let virtual = map.virtualBase + (behind - map.physicalBase)
        var builder = Builder(analysis: analysis, place: behind, notes: instrumentation?.range)
        try builder.pageTables(image, table)
        builder.contents += table.bytes
        builder.contents.pad(to: pageSize)
        let tableOffset = builder.tableOffset
        try builder.stub(image, table, seedSource)
        if let poke = try TextPoke.change(image, map, analysis.symbols) { builder.changes.append(poke) }
        builder.changes += try IsolationFlag.changes(image, map, analysis.symbols)
        builder.changes += instrumentation?.changes ?? []
        return Baked(
            physicalAddress: behind, virtualAddress: virtual, contents: builder.contents, tableOffset: tableOffset,
            changes: builder.changes, remarks: builder.remarks)
    }

    /// The first page behind everything that is loaded.
    static func placeBehind(_ image: borrowing KernelImage) throws(RewriteError) -> PhysicalAddress {
        let ends = image.segments.filter { $0.type == Segment.load }.map { $0.physicalAddress + $0.memorySize }
        guard let last = ends.max(), let rounded = last.rawValue.roundedUp(to: UInt64(pageSize)) else {
            throw .unsupported(file: image.path, "no load segments")
        }
        return PhysicalAddress(rounded)
    }

    /// The frame behind a page, read the way the processor does: through `level2_kernel_pgt` and what it points at.
    static func walk(
        _ analysis: KernelAnalysis, _ address: VirtualAddress, _ memory: PhysicalMemory, _ file: RawSpan
    ) -> PhysicalAddress? {
        guard let level2 = analysis.symbols.optional("level2_kernel_pgt")?.address,
            level2 >= analysis.map.virtualBase
        else { return nil }
        // The table is pinned: its frame is where it was linked to be.
        let root = analysis.map.physicalBase + (level2 - analysis.map.virtualBase)
        let index = address.rawValue >> largePage & 511
        guard let large = memory.word(at: root + 8 * index, in: file), large & 1 == 1 else { return nil }
        if large & pageSizeBit != 0 {
            return PhysicalAddress(large & 0x000f_ffff_ffe0_0000 | address.rawValue & 0x1f_ffff)
        }
        let table = PhysicalAddress(large & addressMask)
        guard let small = memory.word(at: table + 8 * (address.rawValue >> 12 & 511), in: file), small & 1 == 1
        else { return nil }
        return PhysicalAddress(small & addressMask | address.rawValue & 0xfff)
    }

    private struct Builder {
        let analysis: KernelAnalysis
        let place: PhysicalAddress
        /// Where an instrumented kernel's notes lie, which are to be reserved with what is behind them.
        let notes: PhysicalAddress?
        var contents: [UInt8] = []
        var tableOffset = 0
        var changes: [Change] = []
        var remarks: [String] = []

        init(analysis: KernelAnalysis, place: PhysicalAddress, notes: Range<VirtualAddress>?) {
            self.analysis = analysis
            self.place = place
            self.notes = notes.map { analysis.map.physicalBase + ($0.lowerBound - analysis.map.virtualBase) }
            // Where nothing else is loaded behind the image, the notes come first.
            if let start = self.notes, let notes {
                let end = start + (notes.upperBound - notes.lowerBound)
                if place < end { contents = [UInt8](repeating: 0, count: Int(end - place)) }
            }
        }

        private var map: PageMap { analysis.map }

        private func refuse(_ what: String) -> RewriteError { .unsupported(file: analysis.symbols.file, what) }

        /// Makes a table of 4 KB entries for each large page of the image, with the flags the large one has, and points
        /// every table that shows the image by large pages at them.
        mutating func pageTables(_ image: borrowing KernelImage, _ table: TranslationTable) throws(RewriteError) {
            let shown = try analysis.symbols.require("level2_kernel_pgt", for: "to map the image page by page").address
            let largeSize = UInt64(1) << largePage
            let first = map.virtualBase.rawValue & ~(largeSize - 1)
            let slot = first >> largePage & 511
            let count = Int((map.virtualRange.upperBound.rawValue - first + largeSize - 1) >> largePage)
            guard Int(slot) + count <= entriesPerTable else { throw refuse("the image crosses a border of 1 GB") }
            guard secondLevel(from: "init_top_pgt", image) == shown else {
                throw refuse("init_top_pgt does not lead to level2_kernel_pgt: kperm does not know these page tables")
            }
            let tables = Set([shown] + Rules.rootTables.compactMap { secondLevel(from: $0, image) }).sorted()
            guard let entries = map.words(at: shown + 8 * slot, count: count, in: image) else {
                throw refuse("level2_kernel_pgt at \(shown) has no contents")
            }
            if let other = unknownTable(entries, at: slot, besides: tables, image) {
                throw refuse(
                    "the page at \(other) shows the image as level2_kernel_pgt does, and no root table that kperm knows "
                        + "leads there: code that runs by it would find the pages where they were")
            }
            var after: [UInt8] = []
            for (i, entry) in entries.enumerated() {
                let base = first + UInt64(i) << largePage
                let linear = base &- map.virtualBase.rawValue &+ map.physicalBase.rawValue
                guard entry & 1 == 1, entry & pageSizeBit != 0, entry & addressMask == linear else {
                    throw refuse(
                        "level2_kernel_pgt: the entry for \(base.hex) is \(entry.hex), not a large page at \(linear.hex)"
                    )
                }
                after.append(littleEndian: place.rawValue + UInt64(contents.count) | tableFlags)
                let flags = entry & ~addressMask & ~pageSizeBit
                for page in 0..<UInt64(entriesPerTable) {
                    let address = VirtualAddress(base + page << 12)
                    let frame = table.physicalAddress(of: address)?.rawValue ?? linear + page << 12
                    contents.append(littleEndian: frame | flags)
                }
            }
            tableOffset = contents.count
            for level2 in tables {
                let offset = level2 + 8 * slot
                guard map.words(at: offset, count: count, in: image) == entries,
                    let fileOffset = map.fileOffset(of: offset),
                    let before = map.bytes(at: offset, count: 8 * count, in: image)
                else {
                    throw refuse("the page table at \(level2) shows the image in another way than level2_kernel_pgt")
                }
                changes.append(
                    Change(
                        fileOffset: fileOffset, address: offset, before: before, after: after,
                        reason: "the image is mapped page by page",
                        evidence: "\(count) entries of the page table at \(level2), from \(offset)"))
            }
        }

        /// A page with the same entries that is none of the tables: a root table that has no name (the PVH entry's, in a
        /// kernel that lists functions only) would lead to it.
        private func unknownTable(
            _ entries: [UInt64], at slot: UInt64, besides tables: [VirtualAddress], _ image: borrowing KernelImage
        ) -> VirtualAddress? {
            // An identity mapping has the same entries; it shows no virtual address of the image. Linux writes its tables,
            // so they lie in writable segments.
            let known = tables + Rules.rootTables.flatMap { secondLevels(from: $0, image) }
            let offset = Int(8 * slot)
            let writable = image.segments.map { $0.flags & 2 != 0 }
            for (page, entry) in map.entries.enumerated()
            where entry.fileBytes >= offset + 8 && writable[entry.segment] {
                let address = map.virtualBase + UInt64(page * pageSize)
                guard image.file.bytes.load(entry.fileOffset + offset, as: UInt64.self) == entries.first,
                    map.words(at: address + 8 * slot, count: entries.count, in: image) == entries
                else { continue }
                if !known.contains(address) { return address }
            }
            return nil
        }

        /// All second-level tables of the image that a root table leads to.
        private func secondLevels(from root: String, _ image: borrowing KernelImage) -> [VirtualAddress] {
            guard let root = analysis.symbols.optional(root)?.address else { return [] }
            func below(_ tables: [VirtualAddress]) -> [VirtualAddress] {
                tables.flatMap { map.words(at: $0, count: entriesPerTable, in: image) ?? [] }.compactMap { entry in
                    let physical = PhysicalAddress(entry & addressMask)
                    guard entry & 1 == 1, entry & pageSizeBit == 0, map.physicalRange.contains(physical) else {
                        return nil
                    }
                    return map.virtualBase + (physical - map.physicalBase)
                }
            }
            return below(below([root]))
        }

        /// The second-level table that shows the start of the image, from a root table, if the root has one.
        private func secondLevel(from root: String, _ image: borrowing KernelImage) -> VirtualAddress? {
            guard var table = analysis.symbols.optional(root)?.address else { return nil }
            for shift in [39, 30] {
                let index = map.virtualBase.rawValue >> UInt64(shift) & 511
                guard let entry = map.words(at: table + 8 * index, count: 1, in: image)?.first, entry & 1 == 1,
                    entry & pageSizeBit == 0
                else { return nil }
                let physical = PhysicalAddress(entry & addressMask)
                guard map.physicalRange.contains(physical) else { return nil }
                table = map.virtualBase + (physical - map.physicalBase)
            }
            return table
        }

        /// Puts the status behind the tables, where the last of that memory is, and the stub into padding, and hooks it.
        mutating func stub(
            _ image: borrowing KernelImage, _ table: TranslationTable, _ seedSource: String
        ) throws(RewriteError) {
            let symbols = analysis.symbols
            let hooks = KernelHooks(analysis: analysis)
            let home = try hooks.gap(image)
            let reserve = try symbols.require("memblock_reserve", for: "to reserve the page tables")
            let start = try symbols.require("start_kernel", for: "to run the boot stub before it")
            let call = try hooks.callSite(of: start.address, image)

            let moved = table.movedCount
            let says = "\(moved) of \(analysis.countedPages) pages moved, drawn by the tool, seed \(seedSource)"
            let message = Array("\u{1}6kperm: permuted kernel: \(says)\n\0".utf8)
            let name = Array("kperm\0".utf8)
            let messageAt = home.address + UInt64(StubCode.bytes.count)
            let nameAt = messageAt + UInt64(message.count)
            let status = Array("permuted: \(says)\n".utf8)
            let statusPlace = place + UInt64(contents.count)
            contents.append(littleEndian: UInt64(0))
            contents.append(littleEndian: UInt64(status.count))
            contents += status
            contents.pad(to: pageSize)

            let printk = hooks.printk
            let blob = symbols.optional("debugfs_create_blob")
            let pageOffset = symbols.optional("page_offset_base")
            let initcall = hooks.announcement(image, home.address + UInt64(StubCode.announce))
            if let initcall { changes.append(initcall.change) }
            let announces = initcall != nil && printk != nil
            let hasFile = initcall != nil && blob != nil && pageOffset != nil
            if !announces {
                remarks.append("the kernel log will not say that the kernel is permuted: no printk or initcalls")
            }
            if !hasFile {
                remarks.append("no debugfs file will say that the kernel is permuted: no debugfs or initcalls")
            }

            let first = min(notes ?? place, place)
            let parameters: [UInt64] = [
                first.rawValue, UInt64(contents.count) + (place - first), reserve.address.rawValue,
                start.address.rawValue,
                printk?.address.rawValue ?? 0, messageAt.rawValue, initcall?.address.rawValue ?? 0,
                hasFile ? blob?.address.rawValue ?? 0 : 0, nameAt.rawValue, pageOffset?.address.rawValue ?? 0,
                statusPlace.rawValue,
            ]
            var code = StubCode.bytes
            for (i, parameter) in parameters.enumerated() { code.store(littleEndian: parameter, at: 8 * i) }
            code += message + name
            guard code.count <= home.room else {
                throw refuse("no room for the boot stub: \(code.count) bytes, \(home.room) in the padding")
            }
            changes.append(home.change(to: code, "the boot stub", image))
            changes.append(try hooks.lead(call, to: home.address + UInt64(StubCode.reserve), image))
        }
    }
}
