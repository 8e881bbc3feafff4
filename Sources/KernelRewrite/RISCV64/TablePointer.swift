// SPDX-License-Identifier: MIT

// The baked permutation on riscv64: the translation table lies behind the image,
// and `kperm_table` holds its physical address. The kernel itself does the rest.

import Addressing
import KernelImage
import PagePermutation

enum TablePointer {
    /// A word, zero in a kernel that was just built.
    static let symbol = "kperm_table"

    static func place(_ symbols: KernelSymbols) throws(RewriteError) -> VirtualAddress {
        guard let place = symbols.optional(symbol), place.size == 8, place.address.rawValue % 8 == 0 else {
            throw .unsupported(
                file: symbols.file,
                "a riscv64 kernel must be built with support for a translation table; this one has no word \(symbol)")
        }
        return place.address
    }

    @Sendable static func bake(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ table: TranslationTable, _ seedSource: String,
        _ instrumentation: Instrumentation?
    ) throws(RewriteError) -> Baked {
        let map = analysis.map
        let pointer = try place(analysis.symbols)
        let ends = image.segments.filter { $0.type == Segment.load }.map { $0.physicalAddress + $0.memorySize }
        guard let last = ends.max(), let behind = last.rawValue.roundedUp(to: UInt64(pageSize)) else {
            throw .unsupported(file: image.path, "no load segments")
        }
        guard let fileOffset = map.fileOffset(of: pointer), let before = map.bytes(at: pointer, count: 8, in: image),
            before.allSatisfy({ $0 == 0 })
        else {
            throw .unsupported(file: image.path, "\(symbol) at \(pointer) is not zero: the kernel has a table already")
        }
        var contents = table.bytes
        contents.pad(to: pageSize)
        var after: [UInt8] = []
        after.append(littleEndian: behind)
        let change = Change(
            fileOffset: fileOffset, address: pointer, before: before, after: after,
            reason: "the kernel maps its image by the translation table", evidence: symbol)
        return Baked(
            physicalAddress: PhysicalAddress(behind),
            virtualAddress: map.virtualBase + (behind - map.physicalBase.rawValue), contents: contents, tableOffset: 0,
            changes: [change], remarks: [])
    }

    /// The frame behind a page, as the kernel's start reads it: without a look at the table's own bases.
    @Sendable static func walk(
        _ analysis: KernelAnalysis, _ address: VirtualAddress, _ memory: PhysicalMemory, _ file: RawSpan
    ) -> PhysicalAddress? {
        let map = analysis.map
        guard let pointer = analysis.symbols.optional(symbol)?.address, let page = map.page(of: address),
            let start = memory.word(at: map.physicalBase + (pointer - map.virtualBase), in: file)
        else { return nil }
        var frame = UInt64(page)
        if start != 0 {
            let place = start + UInt64(TableLookup.headerBytes + 4 * page)
            guard let pair = memory.word(at: PhysicalAddress(place & ~7), in: file) else { return nil }
            frame = pair >> (8 * (place & 7)) & 0xffff_ffff
        }
        return map.physicalBase + (frame * UInt64(pageSize) + address.rawValue % UInt64(pageSize))
    }
}
