// SPDX-License-Identifier: MIT

// x86-64 Linux, as the value that common code receives.

import Addressing
import KernelImage
import PagePermutation

extension Architecture {
    static let x86 = Architecture(
        name: "x86-64", machine: 62, analyse: X86_64.analyse, bake: Bake.bake, plant: BootArea.plant,
        instrument: Instrument.plan, rewrite: Rewriter.plan, release: PinRelease.release,
        readArea: BootArea.read, walk: Bake.walk,
        patchSites: PatchSites.find,
        startWrites: StartWrites.find, crossing: Rules.crossing)
}

enum X86_64 {
    @Sendable static func analyse(_ image: borrowing KernelImage) throws(RewriteError) -> KernelAnalysis {
        guard let table = try wrapping(RewriteError.image, { () throws(ImageError) in try image.symbols() }) else {
            throw .unsupported(
                file: image.path, "no symbols: give the vmlinux of the debug package, or one that was not stripped")
        }
        return try analyse(image, table)
    }

    /// Reads a kernel by the symbols given.
    static func analyse(_ image: borrowing KernelImage, _ known: SymbolTable) throws(RewriteError) -> KernelAnalysis {
        let table = known.listsFunctionsOnly ? try SymbolRecovery.complete(known, image) : known
        let symbols = KernelSymbols(table, of: image, names: Rules.allSymbols)
        let start = try symbols.require("_text", for: "to find the image").address
        let end = try symbols.require("_end", for: "to find the image").address
        let map = try wrapping(RewriteError.image) { () throws(ImageError) in
            try PageMap(image, from: start, to: end)
        }
        let index = table.index(over: map.virtualRange)
        let pages = try PageClasses(map, symbols, Rules.classes, Rules.exclusions)
        let data = DataObjects(
            index, table, image, largest: Rules.largestUnnamed, largestArray: Rules.largestArray,
            largestStack: Rules.largestStack)
        let early = try EarlyCode(image, map, table, index, symbols, data)
        let constants = try PhysicalConstants(image, map, table, index, symbols, data)
        let stubEnd = try symbols.require("start_kernel", for: "to go on after the boot stub")
        let root = try symbols.require("init_top_pgt", for: "to find the kernel's page tables")
        guard root.address >= map.virtualBase else {
            throw .unsupported(file: image.path, "init_top_pgt at \(root.address) lies outside the image")
        }
        let (objects, rules) = objects(map, symbols, image)
        let others = early.pins + notes(map, image)
        func addresses(_ pin: Pin) -> Range<VirtualAddress> {
            map.virtualBase + UInt64(pin.pages.lowerBound * pageSize)..<map.virtualBase
                + UInt64(pin.pages.upperBound * pageSize)
        }
        let grounds = constants.grounds + rules + others.map { Ground(object: addresses($0), user: .fixed) }
        let pins = (others + constants.pins + objects).sorted { $0.pages.lowerBound < $1.pages.lowerBound }
        let banner = KernelBanner(map, symbols, image)
        return KernelAnalysis(
            architecture: .x86, release: banner.release, build: banner.build, map: map, classes: pages.classes,
            exclusions: pages.exclusions, pins: pins, grounds: grounds, translated: constants.translatedPins,
            remarks: [
                "early code: \(early.functions.count) functions, \(early.instructions) instructions followed",
                "physical constants: \(constants.relocated) relocated words, \(constants.immediates) in instructions, "
                    + "\(constants.translated) computed, "
                    + "\(constants.rangeEnds) of them range ends",
            ]
                + (table.listsFunctionsOnly
                    ? ["the kernel lists functions only: names of data were recovered from the code that uses it"]
                    : []),
            stubEnd: stubEnd.address, rootTable: map.physicalBase + (root.address - map.virtualBase),
            earlyFunctions: Set(early.functions), handedOver: early.handedOver, symbols: symbols, index: index,
            data: data)
    }

    /// The pages of objects that rules name, and who the rules say uses them.
    static func objects(
        _ map: PageMap, _ symbols: KernelSymbols, _ image: borrowing KernelImage
    ) -> ([Pin], [Ground]) {
        var pins: [Pin] = []
        var grounds: [Ground] = []
        for rule in Rules.objects {
            for place in symbols.all(rule.symbol) {
                var range = place.address..<place.address + max(place.size, 1)
                if rule.extent != .object {
                    guard let words = map.words(at: place.address, count: rule.extent == .pointee ? 2 : 1, in: image)
                    else { continue }
                    let target = VirtualAddress(words[0])
                    let size = rule.extent == .pointee ? min(words[1], UInt64(map.pageCount * pageSize)) : 1
                    range = target..<VirtualAddress(target.rawValue.addingReportingOverflow(size).partialValue)
                    guard map.page(of: target) != nil, range.lowerBound < range.upperBound else { continue }
                }
                let pages = map.pages(of: range)
                guard !pages.isEmpty else { continue }
                pins.append(Pin(pages: pages, reason: rule.reason, evidence: rule.symbol))
                let user = rule.askers.isEmpty ? Ground.User.fixed : .functions(rule.askers, use: rule.use)
                grounds.append(Ground(object: range, user: user))
            }
        }
        return (pins, grounds)
    }

    /// The pages of ELF notes, which a loader reads from the file.
    static func notes(_ map: PageMap, _ image: borrowing KernelImage) -> [Pin] {
        image.segments.filter { $0.type == Segment.note && $0.fileSize > 0 }.compactMap { segment in
            let pages = map.pages(of: segment.virtualAddress..<segment.virtualAddress + segment.fileSize)
            return pages.isEmpty
                ? nil
                : Pin(
                    pages: pages, reason: "ELF notes: a loader reads them from the file",
                    evidence: "note segment at \(segment.virtualAddress)")
        }
    }
}
