// SPDX-License-Identifier: MIT

// A hundred thousand symbols, of which a plan needs sixty: names stay in the
// file, and two indices are built when asked for: by name for the names asked
// for, and by page for "which function is this address in".

public import Addressing

/// The symbols of an image. Names are read from the image the table came from.
public struct SymbolTable: Sendable {
    public let symbols: [Symbol]
    /// Where the names lie in the file.
    let names: Range<Int>

    public func name(of symbol: Symbol, in image: borrowing KernelImage) -> String {
        image.file.bytes.extracting(names.lowerBound + Int(symbol.nameOffset)..<names.upperBound).text
    }

    /// The symbols with these names, or with these names and a suffix that the compiler added
    /// (`name.0`, `name.constprop.0`), in table order.
    public func find(_ wanted: Set<String>, in image: borrowing KernelImage) -> [String: [Symbol]] {
        let bytes = image.file.bytes.extracting(names)
        var firstTwo = [Bool](repeating: false, count: 1 << 16)
        for name in wanted {
            let head = Array(name.utf8.prefix(2)) + [0]
            firstTwo[Int(head[0]) | Int(head[1]) << 8] = true
        }
        var found: [String: [Symbol]] = [:]
        for symbol in symbols where symbol.section != 0 {
            let offset = Int(symbol.nameOffset)
            guard offset + 1 < bytes.byteCount, firstTwo[Int(bytes.load(offset, as: UInt16.self))] else { continue }
            let name = name(of: symbol, in: image)
            if wanted.contains(name) {
                found[name, default: []].append(symbol)
            } else if let dot = name.firstIndex(of: "."), wanted.contains(String(name[..<dot])) {
                found[String(name[..<dot]), default: []].append(symbol)
            }
        }
        return found
    }

    /// An index by page over the symbols that have a size, for addresses in `range`.
    public func index(over range: Range<VirtualAddress>) -> AddressIndex { AddressIndex(symbols, range) }
}

/// Answers which symbols cover an address.
public struct AddressIndex: Sendable {
    private let base: VirtualAddress
    /// Positions in `order` where each page's symbols begin.
    private var starts: [Int32]
    private var order: [Symbol]
    private let longest: Int

    init(_ symbols: [Symbol], _ range: Range<VirtualAddress>) {
        base = range.lowerBound
        let pages = Int((range.upperBound - range.lowerBound + UInt64(pageSize) - 1) / UInt64(pageSize))
        let inside = symbols.filter { range.contains($0.value) && $0.kind != .section && $0.kind != .file }
        starts = [Int32](repeating: 0, count: pages + 1)
        let lower = range.lowerBound
        func page(_ symbol: Symbol) -> Int { Int((symbol.value - lower) / UInt64(pageSize)) }
        for symbol in inside { starts[page(symbol) + 1] += 1 }
        for i in 1..<starts.count { starts[i] += starts[i - 1] }
        var next = starts
        order = inside
        for symbol in inside {
            let p = page(symbol)
            order[Int(next[p])] = symbol
            next[p] += 1
        }
        longest = Int((inside.map(\.size).max() ?? 0) / UInt64(pageSize)) + 1
    }

    /// The symbols whose bytes cover an address, the smallest first. Symbols without a size cover their own address.
    public func covering(_ address: VirtualAddress) -> [Symbol] {
        guard address >= base else { return [] }
        let page = Int((address - base) / UInt64(pageSize))
        guard page < starts.count - 1 else { return [] }
        let candidates = order[Int(starts[max(0, page - longest)])..<Int(starts[page + 1])]
        return candidates.filter { $0.value == address || ($0.value < address && address < $0.end) }
            .sorted { ($0.size == 0 ? UInt64.max : $0.size, $0.index) < ($1.size == 0 ? .max : $1.size, $1.index) }
    }

    /// The function that covers an address: the smallest sized symbol of code there.
    public func function(at address: VirtualAddress) -> Symbol? {
        covering(address).first { $0.size > 0 && ($0.kind == .function || $0.kind == .none) }
    }
}
