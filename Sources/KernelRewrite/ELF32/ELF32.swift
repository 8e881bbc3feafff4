// SPDX-License-Identifier: MIT

// 32-bit kernels (Arm, RISC-V), permuted as files: pages moved, the table behind
// them, all of it to be verified and restored. Nothing in such a kernel reads the
// table and nothing maps its pages one by one, so it does not boot, and is marked
// so. What is needed of the kernel is little: the symbols at the borders of its
// kinds of memory, and its program headers.

import Addressing
import KernelImage
import PagePermutation

extension Architecture {
    static let arm32 = ELF32.architecture("armv7", machine: 40)
    static let riscv32 = ELF32.architecture("riscv32", machine: 243)
}

enum ELF32 {
    static func architecture(_ name: String, machine: UInt16) -> Architecture {
        @Sendable func refuse(_ file: String) -> RewriteError {
            .unsupported(file: file, "\(name): kperm moves the pages of such a kernel, and cannot change what it runs")
        }
        return Architecture(
            name: name, machine: machine,
            analyse: { image throws(RewriteError) in
                try analyse(image, machine == 40 ? .arm32 : .riscv32)
            },
            bake: bake,
            plant: { analysis, _, _, _, _, _, _ throws(RewriteError) in throw refuse(analysis.symbols.file) },
            instrument: { analysis, _, _, _ throws(RewriteError) in throw refuse(analysis.symbols.file) },
            rewrite: { analysis, _, _, _, _, _, _ throws(RewriteError) in throw refuse(analysis.symbols.file) },
            readArea: { _ in nil }, walk: walk, patchSites: { _, _ in [] }, startWrites: { _, _ in [] },
            is64Bit: false, isBootable: false)
    }

    /// Kinds of memory, from the kernel's own borders; a page that two kinds share, or that has more, belongs to none.
    private static let classes: [(name: String, start: String, end: String)] = [
        ("text", "_stext", "_etext"), ("rodata", "__start_rodata", "__end_rodata"),
        ("init", "__init_begin", "__init_end"), ("data", "_sdata", "_edata"), ("bss", "__bss_start", "__bss_stop"),
    ]

    private static func analyse(
        _ image: borrowing KernelImage, _ architecture: Architecture
    ) throws(RewriteError) -> KernelAnalysis {
        guard let table = try wrapping(RewriteError.image, { () throws(ImageError) in try image.symbols() }) else {
            throw .unsupported(
                file: image.path, "no symbols: give the vmlinux of the debug package, or one that was not stripped")
        }
        let borders = classes.flatMap { [$0.start, $0.end] }
        let names = Set(borders + ["_end", "linux_banner"])
        let symbols = KernelSymbols(table, of: image, names: names)
        let loads = image.segments.filter { $0.type == Segment.load && $0.memorySize > 0 }
        guard let first = loads.min(by: { $0.physicalAddress < $1.physicalAddress }) else {
            throw .unsupported(file: image.path, "no load segments")
        }
        let end = try symbols.require("_end", for: "to find the image").address
        let map = try wrapping(RewriteError.image) { () throws(ImageError) in
            try PageMap(image, from: first.virtualAddress, to: end)
        }
        let (classes, exclusions) = try split(map, symbols)
        let index = table.index(over: map.virtualRange)
        let banner = KernelBanner(map, symbols, image)
        return KernelAnalysis(
            architecture: architecture, release: banner.release, build: banner.build, map: map, classes: classes,
            exclusions: exclusions, pins: pins(map, image), translated: [],
            remarks: ["the image does not boot: nothing in it reads the table"],
            stubEnd: VirtualAddress(image.header.entry), rootTable: nil, earlyFunctions: [],
            handedOver: [], symbols: symbols, index: index,
            data: DataObjects(index, table, image, largest: 1, largestArray: 1, largestStack: 1))
    }

    private static func split(
        _ map: PageMap, _ symbols: KernelSymbols
    ) throws(RewriteError) -> ([PageClass], [Exclusion]) {
        var owner = [Int?](repeating: nil, count: map.pageCount)
        for (number, rule) in classes.enumerated() {
            let start = try symbols.require(rule.start, for: "to find the \(rule.name) pages").address
            let end = try symbols.require(rule.end, for: "to find the \(rule.name) pages").address
            guard start <= end, map.virtualRange.lowerBound <= start, end <= map.virtualRange.upperBound else {
                throw .unsupported(
                    file: symbols.file, "\(rule.start) … \(rule.end) (\(start) … \(end)) do not lie in the image")
            }
            for page in map.pages(of: start..<end) {
                // Two kinds in one page: the page stays. One kind inside another is a kernel that is not known.
                if let other = owner[page] {
                    let whole = map.virtualBase + UInt64(page * pageSize)
                    guard start > whole || end < whole + UInt64(pageSize) else {
                        throw .unsupported(
                            file: symbols.file, "page \(page) is both \(classes[max(0, other)].name) and \(rule.name)")
                    }
                    owner[page] = -1
                } else {
                    owner[page] = number
                }
            }
        }
        var exclusions: [Exclusion] = []
        for page in 0..<map.pageCount {
            let reason: String
            if map.entries[page].isShared {
                reason = "several segments share the page"
            } else if map.entries[page].isGap {
                reason = "alignment gap between sections"
            } else if owner[page] == -1 {
                reason = "two kinds of memory share the page"
            } else if owner[page] == nil {
                reason = "of no kind of memory that has borders"
            } else {
                continue
            }
            owner[page] = nil
            if let last = exclusions.last, last.reason == reason, last.pages.upperBound == page {
                exclusions[exclusions.count - 1] = Exclusion(pages: last.pages.lowerBound..<page + 1, reason: reason)
            } else {
                exclusions.append(Exclusion(pages: page..<page + 1, reason: reason))
            }
        }
        let all = classes.enumerated().map { number, rule in
            PageClass(name: rule.name, ranges: PageClasses.runs(map.pageCount) { owner[$0] == number })
        }
        return (all, exclusions)
    }

    /// The page that a loader jumps into, with its own mapping or none, and what it reads from the file.
    private static func pins(_ map: PageMap, _ image: borrowing KernelImage) -> [Pin] {
        var pins = X86_64.notes(map, image)
        let entry = image.header.entry
        let virtual = map.page(of: VirtualAddress(entry))
        if let page = virtual {
            pins.append(
                Pin(pages: page..<page + 1, reason: "entry: runs before the mapping is live", evidence: "ELF entry"))
        }
        return pins.sorted { $0.pages.lowerBound < $1.pages.lowerBound }
    }

    /// The table behind everything that is loaded, and nothing else.
    @Sendable private static func bake(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ table: TranslationTable, _ seedSource: String,
        _ instrumentation: Instrumentation?
    ) throws(RewriteError) -> Baked {
        let place = try Bake.placeBehind(image)
        let virtual = analysis.map.virtualBase + (place - analysis.map.physicalBase)
        var contents = table.bytes
        contents.pad(to: pageSize)
        let size = UInt64(contents.count)
        guard place.rawValue + size <= 1 << 32, virtual.rawValue + size <= 1 << 32 else {
            throw .unsupported(
                file: image.path, "no room for the table: the image ends at \(place), and addresses end at 0x100000000")
        }
        return Baked(
            physicalAddress: place, virtualAddress: virtual, contents: contents, tableOffset: 0, changes: [],
            remarks: ["this image does not boot: nothing in it reads the table"])
    }

    /// The frame of a page, by the table as it lies in the memory that a loader fills.
    @Sendable private static func walk(
        _ analysis: KernelAnalysis, _ address: VirtualAddress, _ memory: PhysicalMemory, _ file: RawSpan
    ) -> PhysicalAddress? {
        let map = analysis.map
        guard let page = map.page(of: address), let table = memory.last,
            let header = memory.word(at: table, in: file), header == TableLookup.magic
        else { return nil }
        let offset = UInt64(TableLookup.headerBytes + 4 * page)
        guard let word = memory.word(at: table + offset & ~7, in: file) else { return nil }
        let frame = offset & 4 == 0 ? word & 0xffff_ffff : word >> 32
        return map.physicalBase + frame << 12 + UInt64(address.offsetInPage)
    }
}
