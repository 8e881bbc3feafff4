// SPDX-License-Identifier: MIT

// Names for the addresses of a running kernel: the symbols of its image, moved
// to where its translation table begins. KASLR moves both by the same distance.

import Addressing
import KernelImage
import PagePermutation
import TranslationSimulator

struct ImageNames {
    private let symbols: SymbolList
    private let names: [String]
    private let index: AddressIndex
    private let image: Range<VirtualAddress>
    /// What to add to an address of the image.
    private let slide: UInt64

    var isKnown: Bool { !names.isEmpty }

    /// Knows no names.
    init() {
        symbols = SymbolList([])
        names = []
        image = VirtualAddress(0)..<VirtualAddress(0)
        index = AddressIndex([], image)
        slide = 0
    }

    init(_ image: borrowing KernelImage, _ table: TranslationTable) throws {
        let path = image.path
        let symbolTable: SymbolTable?
        do {
            symbolTable = try image.symbols()
        } catch {
            throw CommandFailure.input("\(error)")
        }
        guard let symbolTable else { throw CommandFailure.input("\(path): no symbols") }
        let borders = symbolTable.find(["_text", "_end"], in: image)
        guard let text = borders["_text"]?.first?.value, let end = borders["_end"]?.first?.value, text <= end else {
            throw CommandFailure.input("\(path): no symbols _text and _end, between which a kernel lies")
        }
        let pages = (end - text + UInt64(pageSize - 1)) / UInt64(pageSize)
        guard pages == UInt64(table.pageCount) else {
            throw CommandFailure.input(
                "\(path): \(pages) pages, but the table is of a kernel with \(table.pageCount): give that one's image")
        }
        symbols = symbolTable.symbols
        var names: [String] = []
        names.reserveCapacity(symbols.count)
        for symbol in symbols { names.append(symbolTable.name(of: symbol, in: image)) }
        self.names = names
        self.image = text..<text + pages * UInt64(pageSize)
        index = AddressIndex(symbols, self.image)
        slide = table.virtualBase.rawValue &- text.rawValue
    }

    /// Where symbols lie, as the table has them.
    func places(of wanted: Set<String>) -> [String: Set<VirtualAddress>] {
        var found: [String: Set<VirtualAddress>] = [:]
        if wanted.isEmpty { return found }
        for (symbol, name) in zip(symbols, names) where symbol.section != 0 && wanted.contains(name) {
            found[name, default: []].insert(symbol.value + slide)
        }
        return found
    }

    /// What covers an address of the table's image: an object, or what lies between two.
    func stretch(at address: VirtualAddress) -> NamedStretch {
        let linked = VirtualAddress(address.rawValue &- slide)
        guard image.contains(linked) else { return NamedStretch(name: nil, range: address..<address + 1) }
        if let symbol = index.covering(linked).first(where: { $0.size > 0 }) {
            return NamedStretch(name: name(symbol), range: symbol.value + slide..<symbol.end + slide)
        }
        // A symbol without a size goes as far as the next one.
        let gap = index.gap(around: linked)
        let end = min(gap.upperBound, image.upperBound) + slide
        let marker = index.covering(linked).first ?? index.covering(gap.lowerBound).first { $0.size == 0 }
        return NamedStretch(name: marker.map(name), range: (marker?.value ?? gap.lowerBound) + slide..<end)
    }

    private func name(_ symbol: Symbol) -> String {
        Int(symbol.index) < names.count ? names[Int(symbol.index)] : ""
    }
}
