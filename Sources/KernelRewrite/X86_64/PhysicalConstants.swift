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

import Addressing
import KernelImage
import PagePermutation

/// Pages named by physical constants.
struct PhysicalConstants {
    private(set) var pins: [Pin] = []
    /// Constants that name the end of a range, which pins nothing.
    private(set) var rangeEnds = 0
    private(set) var relocated = 0
    private(set) var immediates = 0

    private let map: PageMap
    private let classEnds: Set<VirtualAddress>
    private let index: AddressIndex
    private var seen: Set<Int> = []

    init(
        _ image: borrowing KernelImage, _ map: PageMap, _ table: SymbolTable, _ index: AddressIndex,
        _ symbols: KernelSymbols
    ) throws(RewriteError) {
        self.map = map
        self.index = index
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
        guard constant >= map.physicalBase.rawValue, constant <= map.physicalRange.upperBound.rawValue else { return nil }
        return map.virtualBase + (constant - map.physicalBase.rawValue)
    }

    private mutating func pin(_ target: VirtualAddress, _ reason: String, _ evidence: @autoclosure () -> String) {
        let covered = index.covering(target).contains { $0.size > 0 && $0.value <= target }
        if !covered, classEnds.contains(target) || classEnds.contains(target + 1) {
            rangeEnds += 1
            return
        }
        guard let page = map.page(of: target), seen.insert(page).inserted else { return }
        pins.append(Pin(pages: page..<page + 1, reason: reason, evidence: evidence()))
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
                target, "named by its physical address",
                "relocated word at \(relocation.address) holds \(value.hex)")
        }
    }

    /// Looks for `movabs` with a physical constant: REX.W, B8+r, and a 64-bit value whose upper half is zero.
    private mutating func instructions(_ image: borrowing KernelImage) {
        guard map.physicalRange.upperBound.rawValue < 1 << 32 else { return }
        let values = UInt32(map.physicalBase.rawValue)...UInt32(map.physicalRange.upperBound.rawValue)
        let bytes = image.file.bytes
        var hits: [(VirtualAddress, UInt32)] = []
        for section in image.sections where section.isExecutable && section.isAllocated && !section.isNoBits {
            let code = bytes.extracting(Int(section.offset)..<Int(section.offset + section.size))
            for first in Self.zeroRuns(code) {
                Self.movabs(in: code, upperHalfIn: first..<first + 5, values, section.address, &hits)
            }
        }
        immediates = hits.count
        for (place, value) in hits {
            guard let target = address(UInt64(value)) else { continue }
            pin(target, "named by its physical address", "movabs $\(value.hex) at \(place)")
        }
    }

    private static func movabs(
        in code: RawSpan, upperHalfIn places: Range<Int>, _ values: ClosedRange<UInt32>, _ start: VirtualAddress,
        _ hits: inout [(VirtualAddress, UInt32)]
    ) {
        for upper in places where upper >= 6 && upper + 4 <= code.byteCount {
            guard code.load(upper, as: UInt32.self) == 0, code.load(upper - 5, as: UInt8.self) & 0xf8 == 0xb8,
                code.load(upper - 6, as: UInt8.self) & 0xfe == 0x48
            else { continue }
            let value = code.load(upper - 4, as: UInt32.self)
            if values.contains(value) { hits.append((start + UInt64(upper - 6), value)) }
        }
    }

    /// Where runs of four zero bytes begin: each result is the first of five places of which at least one is. Every
    /// byte of the text passes through this loop, so it reads by pointer and branches only when it has found one.
    private static func zeroRuns(_ code: RawSpan) -> [Int] {
        var found: [Int] = []
        unsafe code.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress else { return }
            var at = 0
            while at + 8 <= buffer.count {
                let window = unsafe start.loadUnaligned(fromByteOffset: at, as: UInt64.self)
                let pairs = window | window >> 8
                let runs = pairs | pairs >> 16
                let zeros = (runs &- 0x01_0101_0101) & ~runs & 0x80_8080_8080
                if zeros != 0 { found.append(at) }
                at += 5
            }
        }
        return found
    }

    /// Pins the tables that a page table in the image leads to.
    private mutating func follow(
        _ table: VirtualAddress, level: Int, from name: String, _ image: borrowing KernelImage
    ) {
        guard level > 1 else { return }
        for entry in 0..<512 {
            guard let bytes = map.bytes(at: table + UInt64(8 * entry), count: 8, in: image) else { return }
            let value = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let isTable = value & 1 == 1 && value & 0x80 == 0
            guard isTable, let next = address(value & 0x000f_ffff_ffff_f000), next != table else { continue }
            pin(next, "page table: the processor reads it by physical address", "entry \(entry) of the table at \(table), from \(name)")
            follow(next, level: level - 1, from: name, image)
        }
    }
}
