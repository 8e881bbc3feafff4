// SPDX-License-Identifier: MIT

// Which pages does the kernel name by physical address? `__pa_symbol(x)` and
// `virt_to_page(&x)` of a static object compile to the constant
// x - __START_KERNEL_map, and such a constant can be found in three ways, none
// of which needs a list of names:
//
//   - relocations, where the file has them: a relocated word whose value lies
//     between the load address and the end of the image;
//   - `movabs $constant, %reg`: compilers use the 64-bit form only for values
//     they do not know, so in a kernel these are relocated words, too;
//   - page tables in the image, followed from their roots.
//
// A fourth form holds no constant and is computed: TranslatedConstants.swift.

import Addressing
import KernelImage
import PagePermutation

/// Pages named by physical constants.
struct PhysicalConstants {
    private(set) var pins: [Pin] = []
    /// For every place that names an object, whoever else does.
    private(set) var grounds: [Ground] = []
    /// Constants that name the end of a range, which pins nothing.
    private(set) var rangeEnds = 0
    private(set) var relocated = 0
    private(set) var immediates = 0
    private(set) var translated = 0
    /// The pins of what no constant names and code computes.
    private(set) var translatedPins: Set<Pin> = []

    private let map: PageMap
    private let classEnds: Set<VirtualAddress>
    private let index: AddressIndex
    private let data: DataObjects
    private var seen: Set<Int> = []

    init(
        _ image: borrowing KernelImage, _ map: PageMap, _ table: SymbolTable, _ index: AddressIndex,
        _ symbols: KernelSymbols, _ data: DataObjects
    ) throws(RewriteError) {
        self.map = map
        self.index = index
        self.data = data
        classEnds = Set(
            (Rules.classes.map(\.end) + Rules.exclusions.map(\.end)).compactMap { symbols.optional($0)?.address }
                + image.sections.filter(\.isAllocated).map(\.end) + [map.virtualRange.upperBound])
        try relocations(image, table)
        instructions(image)
        for name in Rules.rootTables {
            guard let root = symbols.optional(name) else { continue }
            follow(root.address, level: 4, from: name, image)
        }
    }

    /// The virtual address that a physical constant stands for, or nil if it lies outside the image.
    private func address(_ constant: UInt64) -> VirtualAddress? {
        guard constant >= map.physicalBase.rawValue, constant <= map.physicalRange.upperBound.rawValue else {
            return nil
        }
        return map.virtualBase + (constant - map.physicalBase.rawValue)
    }

    /// Pins what a physical address names: the object there; a marker of the linker's, which has no size, names all up to
    /// the next symbol, and what has no name at all is a constant of some function's (a string, say), no larger than
    /// such are.
    private mutating func pin(
        _ target: VirtualAddress, _ user: Ground.User, _ reason: String, _ evidence: @autoclosure () -> String
    ) {
        let covering = index.covering(target).filter { $0.size > 0 }
        let known = data.object(at: target)
        if covering.isEmpty, known == nil, classEnds.contains(target) || classEnds.contains(target + 1) {
            rangeEnds += 1
            return
        }
        let object = known ?? (covering.isEmpty ? target..<end(from: target) : target..<target + 1)
        // Who translates the beginning of an object takes what follows for contiguous.
        let isOne = map.pages(of: object).count == 1
        grounds.append(Ground(object: object, user: isOne ? user : .fixed))
        for page in map.pages(of: object) where seen.insert(page).inserted {
            pins.append(Pin(pages: page..<page + 1, reason: reason, evidence: evidence()))
        }
    }

    /// Where what begins at an address that no symbol covers has ended.
    private func end(from target: VirtualAddress) -> VirtualAddress {
        let next = index.next(after: target) ?? target + 1
        let isMarker = !index.covering(target).isEmpty
        return isMarker ? next : min(next, target + Rules.largestUnnamed, map.virtualRange.upperBound)
    }

    private mutating func relocations(_ image: borrowing KernelImage, _ table: SymbolTable) throws(RewriteError) {
        let wordTypes: Set<UInt32> = [1, 10, 11]  // R_X86_64_64, R_X86_64_32, R_X86_64_32S
        let low = map.physicalBase.rawValue
        let high = map.physicalRange.upperBound.rawValue
        var found: [Relocation] = []
        try wrapping(RewriteError.image) { () throws(ImageError) in
            try image.forEachRelocation { relocation in
                guard relocation.symbol < table.symbols.count else { return }
                let symbol = table.symbols[relocation.symbol]
                let value = symbol.value.rawValue &+ UInt64(bitPattern: relocation.addend)
                if value >= low, value <= high, symbol.section != 0xfff1, wordTypes.contains(relocation.type) {
                    found.append(relocation)
                }
            }
        }
        relocated = found.count
        for relocation in found {
            let value = table.symbols[relocation.symbol].value.rawValue &+ UInt64(bitPattern: relocation.addend)
            guard let target = address(value) else { continue }
            pin(
                target, .named(relocation.address), "named by its physical address",
                "relocated word at \(relocation.address) holds \(value.hex)")
        }
    }

    /// Looks for `movabs` with a physical constant, and for addresses that code translates.
    private mutating func instructions(_ image: borrowing KernelImage) {
        var computed = TranslatedConstants(map)
        for section in image.sections where section.isExecutable && section.isAllocated && !section.isNoBits {
            let code = image.file.bytes.extracting(Int(section.offset)..<Int(section.offset + section.size))
            let scan = ConstantScan(code)
            for place in scan.shortMovabs {
                let value = UInt64(code.load(place + 2, as: UInt32.self))
                guard let target = address(value) else { continue }
                immediates += 1
                pin(
                    target, .named(section.address + UInt64(place)), "named by its physical address",
                    "movabs $\(value.hex) at \(section.address + UInt64(place))")
            }
            computed.add(scan.halves, in: code, at: section.address)
        }
        translated = computed.found.count
        let named = pins.count
        for (target, place) in computed.found {
            pin(target, .named(place), "translated to its physical address", "the code at \(place) computes it")
        }
        translatedPins = Set(pins[named...])
    }

    /// Pins the tables that a page table in the image leads to.
    private mutating func follow(
        _ table: VirtualAddress, level: Int, from name: String, _ image: borrowing KernelImage
    ) {
        guard level > 1 else { return }
        for entry in 0..<512 {
            guard let value = map.words(at: table + UInt64(8 * entry), count: 1, in: image)?.first else { return }
            let isTable = value & 1 == 1 && value & 0x80 == 0
            guard isTable, let next = address(value & 0x000f_ffff_ffff_f000), next != table else { continue }
            pin(
                next, .fixed, "page table: the processor reads it by physical address",
                "entry \(entry) of the table at \(table), from \(name)")
            follow(next, level: level - 1, from: name, image)
        }
    }
}
