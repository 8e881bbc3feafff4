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
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ table: TranslationTable, _ seedSource: String
    ) throws(RewriteError) -> Baked {
        let map = analysis.map
        let behind = try placeBehind(image)
        let virtual = map.virtualBase + (behind - map.physicalBase)
        var builder = Builder(analysis: analysis, place: behind)
        try builder.pageTables(image, table)
        builder.contents += table.bytes
        builder.contents.pad(to: pageSize)
        let tableOffset = builder.tableOffset
        try builder.stub(image, table, seedSource)
        if let poke = try TextPoke.change(image, map, analysis.symbols) { builder.changes.append(poke) }
        builder.contents.pad(to: pageSize)
        try builder.setReservedSize()
        return Baked(
            physicalAddress: behind, virtualAddress: virtual, contents: builder.contents, tableOffset: tableOffset,
            changes: builder.changes, remarks: builder.remarks)
    }

    /// The first page behind everything that is loaded.
    private static func placeBehind(_ image: borrowing KernelImage) throws(RewriteError) -> PhysicalAddress {
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
        var contents: [UInt8] = []
        var tableOffset = 0
        var changes: [Change] = []
        var remarks: [String] = []
        private var stubOffset = 0

        init(analysis: KernelAnalysis, place: PhysicalAddress) {
            self.analysis = analysis
            self.place = place
        }

        private var map: PageMap { analysis.map }

        private func refuse(_ what: String) -> RewriteError { .unsupported(file: analysis.symbols.file, what) }

        /// Makes a table of 4 KB entries for each large page of the image, with the flags the large one has.
        mutating func pageTables(_ image: borrowing KernelImage, _ table: TranslationTable) throws(RewriteError) {
            let level2 = try analysis.symbols.require("level2_kernel_pgt", for: "to map the image page by page")
            let range = map.virtualRange
            let largeSize = UInt64(1) << largePage
            let first = range.lowerBound.rawValue & ~(largeSize - 1)
            let offset = level2.address + 8 * (first >> largePage & 511)
            let count = Int((range.upperBound.rawValue - first + largeSize - 1) >> largePage)
            guard Int(first >> largePage & 511) + count <= entriesPerTable, level2.size >= UInt64(pageSize),
                let fileOffset = map.fileOffset(of: offset),
                let before = map.bytes(at: offset, count: 8 * count, in: image)
            else { throw refuse("level2_kernel_pgt at \(level2.address) does not cover the image") }
            var after: [UInt8] = []
            for i in 0..<count {
                let entry = before[8 * i..<8 * i + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                let base = first + UInt64(i) << largePage
                let linear = base &- map.virtualBase.rawValue &+ map.physicalBase.rawValue
                guard entry & 1 == 1, entry & pageSizeBit != 0, entry & 0x000f_ffff_ffff_f000 == linear else {
                    throw refuse(
                        "level2_kernel_pgt: the entry for \(base.hex) is \(entry.hex), not a large page at \(linear.hex)")
                }
                after.put(place.rawValue + UInt64(contents.count) | tableFlags)
                let flags = entry & ~addressMask & ~pageSizeBit
                for page in 0..<UInt64(entriesPerTable) {
                    let address = VirtualAddress(base + page << 12)
                    let frame = table.physicalAddress(of: address)?.rawValue ?? linear + page << 12
                    contents.put(frame | flags)
                }
            }
            tableOffset = contents.count
            changes.append(
                Change(
                    fileOffset: fileOffset, address: offset, before: before, after: after,
                    reason: "the image is mapped page by page",
                    evidence: "level2_kernel_pgt, \(count) entries from \(offset)"))
        }

        /// Puts the stub between text and rodata and hooks it.
        mutating func stub(
            _ image: borrowing KernelImage, _ table: TranslationTable, _ seedSource: String
        ) throws(RewriteError) {
            let symbols = analysis.symbols
            let home = try gap(image)
            let reserve = try symbols.require("memblock_reserve", for: "to reserve the page tables")
            let hook = try symbols.require("initial_code", for: "to run the boot stub")
            let start = try symbols.require("x86_64_start_kernel", for: "to go on after the boot stub")
            guard let held = analysis.word(at: hook.address, in: image), let hookOffset = map.fileOffset(of: hook.address),
                held == start.address.rawValue
            else { throw refuse("initial_code at \(hook.address) does not hold x86_64_start_kernel") }

            let moved = table.movedCount
            let says = "\(moved) of \(analysis.countedPages) pages moved, drawn by the tool, seed \(seedSource)"
            let message = Array("\u{1}6kperm: permuted kernel: \(says)\n\0".utf8)
            let name = Array("kperm\0".utf8)
            let messageAt = home.address + UInt64(StubCode.bytes.count)
            let nameAt = messageAt + UInt64(message.count)
            let status = Array("permuted: \(says)\n".utf8)
            let statusPlace = place + UInt64(contents.count)

            let printk = symbols.optional("_printk") ?? symbols.optional("printk")
            let blob = symbols.optional("debugfs_create_blob")
            let pageOffset = symbols.optional("page_offset_base")
            let initcall = try announcement(image, home.address + UInt64(StubCode.announce))
            let announces = initcall != nil && printk != nil
            let hasFile = initcall != nil && blob != nil && pageOffset != nil
            if !announces { remarks.append("the kernel log will not say that the kernel is permuted: no printk or initcalls") }
            if !hasFile { remarks.append("no debugfs file will say that the kernel is permuted: no debugfs or initcalls") }

            let parameters: [UInt64] = [
                place.rawValue, 0, reserve.address.rawValue, start.address.rawValue,
                printk?.address.rawValue ?? 0, messageAt.rawValue, initcall ?? 0,
                hasFile ? blob?.address.rawValue ?? 0 : 0, nameAt.rawValue, pageOffset?.address.rawValue ?? 0,
                statusPlace.rawValue,
            ]
            var code = StubCode.bytes
            for (i, parameter) in parameters.enumerated() { code.replace(at: 8 * i, with: parameter) }
            code += message + name
            guard code.count <= home.room else {
                throw refuse("no room for the boot stub: \(code.count) bytes, \(home.room) between text and rodata")
            }
            contents.put(UInt64(0))
            contents.put(UInt64(status.count))
            contents += status

            stubOffset = changes.count
            changes.append(
                Change(
                    fileOffset: home.fileOffset, address: home.address,
                    before: (0..<code.count).map { image.file.bytes.load(home.fileOffset + $0, as: UInt8.self) },
                    after: code, reason: "the boot stub",
                    evidence: "\(home.room) unused bytes between _etext and __start_rodata"))
            var hooked: [UInt8] = []
            hooked.put(home.address.rawValue + UInt64(StubCode.reserve))
            changes.append(
                Change(
                    fileOffset: hookOffset, address: hook.address,
                    before: (0..<8).map { image.file.bytes.load(hookOffset + $0, as: UInt8.self) }, after: hooked,
                    reason: "the start of the kernel leads through the boot stub",
                    evidence: "initial_code held x86_64_start_kernel (\(start.address))"))
        }

        mutating func setReservedSize() throws(RewriteError) {
            var after = changes[stubOffset].after
            after.replace(at: 8, with: UInt64(contents.count))
            let stub = changes[stubOffset]
            changes[stubOffset] = Change(
                fileOffset: stub.fileOffset, address: stub.address, before: stub.before, after: after,
                reason: stub.reason, evidence: stub.evidence)
        }

        /// Unused bytes behind the last text page, in the file and in memory.
        private func gap(
            _ image: borrowing KernelImage
        ) throws(RewriteError) -> (address: VirtualAddress, fileOffset: Int, room: Int) {
            let end = try analysis.symbols.require("_etext", for: "to place the boot stub").address
            let rodata = try analysis.symbols.require("__start_rodata", for: "to place the boot stub").address
            guard let start = end.rawValue.roundedUp(to: UInt64(pageSize)).map({ VirtualAddress($0) }), start < rodata,
                let page = map.page(of: start), map.entries[page].fileBytes == pageSize
            else { throw refuse("no room for the boot stub between _etext (\(end)) and __start_rodata (\(rodata))") }
            let offset = map.entries[page].fileOffset
            let fill = image.file.bytes.load(offset, as: UInt8.self)
            let unused = (0..<pageSize).allSatisfy { image.file.bytes.load(offset + $0, as: UInt8.self) == fill }
            let inSection = image.sections.contains {
                $0.isAllocated && $0.size > 0 && $0.address < start + UInt64(pageSize) && start < $0.end
            }
            guard unused, !inSection else { throw refuse("the page behind text, at \(start), is in use") }
            return (start, offset, pageSize)
        }

        /// Leads the first late initcall through the stub; gives its address, or nil if the kernel has none. Entries
        /// are 32-bit offsets relative to themselves.
        private mutating func announcement(
            _ image: borrowing KernelImage, _ target: VirtualAddress
        ) throws(RewriteError) -> UInt64? {
            guard let first = analysis.symbols.optional("__initcall7_start")?.address,
                let end = analysis.symbols.optional("__initcall_end")?.address, first < end,
                let fileOffset = map.fileOffset(of: first), let before = map.bytes(at: first, count: 4, in: image)
            else { return nil }
            let offset = Int32(bitPattern: before.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
            let initcall = first + UInt64(bitPattern: Int64(offset))
            let inInit = analysis.map.page(of: initcall) != nil
            let isCode = image.sections.contains {
                $0.isExecutable && $0.isAllocated && $0.address <= initcall && initcall < $0.end
            }
            guard inInit, isCode else { return nil }
            let relative = Int64(bitPattern: target.rawValue &- first.rawValue)
            guard let fits = Int32(exactly: relative) else { return nil }
            changes.append(
                Change(
                    fileOffset: fileOffset, address: first, before: before,
                    after: (0..<4).map { UInt8(truncatingIfNeeded: fits >> (8 * $0)) },
                    reason: "the kernel log and debugfs say that the kernel is permuted",
                    evidence: "__initcall7_start: the entry led to \(initcall)"))
            return initcall.rawValue
        }
    }
}

extension [UInt8] {
    fileprivate mutating func put(_ value: UInt64) {
        for i in 0..<8 { append(UInt8(truncatingIfNeeded: value >> (8 * i))) }
    }

    fileprivate mutating func replace(at offset: Int, with value: UInt64) {
        for i in 0..<8 { self[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * i)) }
    }

    fileprivate mutating func pad(to size: Int) {
        append(contentsOf: repeatElement(0, count: (size - count % size) % size))
    }
}
