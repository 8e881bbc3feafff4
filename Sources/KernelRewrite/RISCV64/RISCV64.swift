// SPDX-License-Identifier: MIT

// riscv64, as the value that common code receives. No stub is put into such a
// kernel: it has the support built in. While its MMU is off it looks into
// `kperm_table` for the physical address of a translation table, and maps its
// image page by page as the table says, or linearly where there is none.

import Addressing
import KernelImage
import PagePermutation

extension Architecture {
    static let riscv64 = Architecture(
        name: "riscv64", machine: 243, analyse: RISCV64Kernel.analyse, bake: TablePointer.bake,
        plant: RISCV64Kernel.plant, instrument: RISCV64Kernel.instrument, rewrite: RISCV64Kernel.rewrite,
        readArea: RISCV64Kernel.readArea, walk: TablePointer.walk, patchSites: { _, _ in [] },
        startWrites: { analysis, _ in analysis.written })
}

enum RISCV64Kernel {
    /// Sets of pages that the kernel frees or protects as a whole. What lies before `_text` belongs to text, too.
    static let classes = [
        ClassRule(name: "text", start: "_start", end: "_etext"),
        ClassRule(name: "init", start: "__init_begin", end: "__init_end"),
        ClassRule(name: "rodata", start: "__start_rodata", end: "__end_rodata"),
        ClassRule(name: "data", start: "_data", end: "_edata"),
        ClassRule(name: "bss", start: "__bss_start", end: "__bss_stop"),
    ]

    /// Where other harts begin, with the MMU off.
    static let otherEntries = ["secondary_start_sbi"]

    private static let symbolNames: Set<String> =
        Set(classes.flatMap { [$0.start, $0.end] } + otherEntries)
        .union(["_end", "start_kernel", "linux_banner", TablePointer.symbol])

    @Sendable static func analyse(_ image: borrowing KernelImage) throws(RewriteError) -> KernelAnalysis {
        guard let table = try wrapping(RewriteError.image, { () throws(ImageError) in try image.symbols() }) else {
            throw .unsupported(file: image.path, "no symbols: give a vmlinux that was not stripped")
        }
        let symbols = KernelSymbols(table, of: image, names: symbolNames)
        let start = try symbols.require("_start", for: "to find the image").address
        let end = try symbols.require("_end", for: "to find the image").address
        _ = try TablePointer.place(symbols)
        let map = try wrapping(RewriteError.image) { () throws(ImageError) in
            try PageMap(image, from: start, to: end)
        }
        let index = table.index(over: map.virtualRange)
        let pages = try PageClasses(map, symbols, classes)
        let code = try StartCode(image, map, index, symbols)
        let banner = KernelBanner(map, symbols, image)
        return KernelAnalysis(
            architecture: .riscv64, release: banner.release, build: banner.build, map: map, classes: pages.classes,
            exclusions: pages.exclusions, pins: code.pins, translated: [],
            remarks: [
                "code run with the MMU off: \(code.functions.count) functions, \(code.instructions) instructions followed"
            ],
            stubEnd: try symbols.require("start_kernel", for: "to look at the kernel once it is mapped").address,
            rootTable: nil, earlyFunctions: code.functions, handedOver: [], written: code.written, symbols: symbols,
            index: index, data: DataObjects(index, table, image, largest: 1, largestArray: 1, largestStack: 1))
    }

    @Sendable static func plant(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _: PermutationProblem, _: [UInt8]?, _: [UInt8],
        _: Instrumentation?, _: Rewriting?
    ) throws(RewriteError) -> Planted {
        throw .unsupported(
            file: image.path, "a riscv64 kernel draws at boot only where it was built to: use --when build")
    }

    @Sendable static func instrument(
        _: KernelAnalysis, _ image: borrowing KernelImage, _: [ObservedSite], _: KASLRRelocations?
    ) throws(RewriteError) -> Instrumentation {
        throw .unsupported(file: image.path, "kperm cannot have a riscv64 kernel note what it translates")
    }

    @Sendable static func rewrite(
        _: KernelAnalysis, _ image: borrowing KernelImage, _: [ObservedSite], _: [ObservedSite]?, _: KASLRRelocations?,
        _: TranslationTable, _: FrameTests?
    ) throws(RewriteError) -> Rewriting {
        throw .unsupported(file: image.path, "the code of riscv64 kernels is not rewritten")
    }

    @Sendable static func readArea(
        _: borrowing KernelImage
    ) throws(RewriteError) -> AreaNotes? { nil }
}
