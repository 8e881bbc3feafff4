// SPDX-License-Identifier: MIT

// A hundred thousand symbols, of which a plan needs sixty: names stay in the
// file (or where kallsyms was expanded to), and two indices are built when
// asked for: by name for the names asked for, and by page for "which function
// is this address in".

public import Addressing

/// The symbols of an image. Names are read from the image the table came from.
public struct SymbolTable: Sendable {
    /// Where zero-terminated names lie.
    enum Names: Sendable {
        /// In the file.
        case file(Range<Int>)
        /// Here.
        case own([UInt8])
    }

    public let symbols: SymbolList
    let names: Names
    /// Whether this is what a kernel without CONFIG_KALLSYMS_ALL knows: its functions, and nothing of its data.
    public let listsFunctionsOnly: Bool

    init(symbols: SymbolList, names: Names, listsFunctionsOnly: Bool = false) {
        self.symbols = symbols
        self.names = names
        self.listsFunctionsOnly = listsFunctionsOnly
    }

    public func name(of symbol: Symbol, in image: borrowing KernelImage) -> String {
        let start = Int(symbol.nameOffset)
        switch names {
        case .file(let range): return image.file.bytes.extracting(range.lowerBound + start..<range.upperBound).text
        case .own(let bytes): return unsafe bytes.span.bytes.extracting(start..<bytes.count).text
        }
    }

    /// The symbols with these names, or with these names and a suffix that the compiler added
    /// (`name.0`, `name.constprop.0`), in table order. A name that ends in `*` stands for all that begin so; those are
    /// found under their own names.
    public func find(_ wanted: Set<String>, in image: borrowing KernelImage) -> [String: [Symbol]] {
        switch names {
        case .file(let range): find(wanted, in: image.file.bytes.extracting(range))
        case .own(let bytes): unsafe find(wanted, in: bytes.span.bytes)
        }
    }

    private func find(_ wanted: Set<String>, in bytes: RawSpan) -> [String: [Symbol]] {
        /// What may follow four bytes: the rest of a name, and the rest of a beginning.
        let (aName, aBeginning): (UInt8, UInt8) = (1, 2)
        var heads = [UInt8](repeating: 0, count: 1 << 12)
        var filter = [Bool](repeating: false, count: 1 << 12)
        let prefixes = wanted.filter { $0.hasSuffix("*") }.map { String($0.dropLast()) }
        let names = wanted.filter { !$0.hasSuffix("*") }
        for (texts, follows) in [(Array(names), aName), (prefixes, aBeginning)] {
            for text in texts where text.utf8.count >= 4 {
                let head = text.utf8.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                heads[Self.slot(head)] |= follows
            }
        }
        for name in names { filter[Int(name.utf8.reduce(Self.hashSeed, Self.hash) & 0xfff)] = true }
        let hasShort = (names + prefixes).contains { $0.utf8.count < 4 }
        var found: [String: [Symbol]] = [:]
        for symbol in symbols where symbol.section != 0 {
            let start = Int(symbol.nameOffset)
            var follows = aName | aBeginning
            if !hasShort {
                guard start + 4 <= bytes.byteCount else { continue }
                follows = heads[Self.slot(bytes.load(start, as: UInt32.self))]
                if follows == 0 { continue }
            }
            var hash = Self.hashSeed
            var end = start
            while true {
                let byte = bytes.load(end, as: UInt8.self)
                if byte == 0 || byte == UInt8(ascii: ".") { break }
                hash = Self.hash(hash, byte)
                end += 1
            }
            let mayBegin = follows & aBeginning != 0 && prefixes.contains { bytes.begins(with: $0, at: start) }
            guard mayBegin || filter[Int(hash & 0xfff)] else { continue }
            let name = bytes.extracting(start..<end).text
            if mayBegin || names.contains(name) { found[name, default: []].append(symbol) }
        }
        return found
    }

    /// The same table with names for data that it does not list, each of so many bytes (0 for a marker of the linker's).
    public func adding(
        _ found: [(name: String, address: VirtualAddress, size: UInt64)], in image: borrowing KernelImage
    ) -> SymbolTable {
        var bytes: [UInt8]
        switch names {
        case .file(let range): bytes = range.map { image.file.bytes.load($0, as: UInt8.self) }
        case .own(let own): bytes = own
        }
        var all = Array(symbols)
        for (name, address, size) in found {
            all.append(
                Symbol(
                    value: address, byteCount: UInt32(clamping: size), nameOffset: UInt32(bytes.count),
                    index: UInt32(all.count), section: 0xfff1, kind: size == 0 ? .none : .object))
            bytes += Array(name.utf8) + [0]
        }
        // Searches look at four bytes at once.
        return SymbolTable(
            symbols: SymbolList(all), names: .own(bytes + [0, 0, 0]), listsFunctionsOnly: listsFunctionsOnly)
    }

    /// The same table as the kernel would have it without CONFIG_KALLSYMS_ALL: only what lies in its code.
    package func functions(in code: [ClosedRange<VirtualAddress>]) -> SymbolTable {
        SymbolTable(
            symbols: SymbolList(symbols.filter { symbol in code.contains { $0.contains(symbol.value) } }), names: names,
            listsFunctionsOnly: true)
    }

    private static func slot(_ head: UInt32) -> Int { Int((head &* 0x9e37_79b1) >> 20) }

    // FNV-1a: only a filter before names are compared.
    private static let hashSeed: UInt64 = 0xcbf2_9ce4_8422_2325
    private static func hash(_ hash: UInt64, _ byte: UInt8) -> UInt64 { (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }

    /// An index by page over the symbols that have a size, for addresses in `range`.
    public func index(over range: Range<VirtualAddress>) -> AddressIndex { AddressIndex(symbols, range) }
}

/// Answers which symbols cover an address.
public struct AddressIndex: Sendable {
    private let base: VirtualAddress
    private let symbols: SymbolList
    /// For each page the last symbol of the table that begins in it, or -1; and for each symbol the one before it.
    private var last: [Int32]
    private var previous: [Int32]
    /// How many pages further down the symbols begin that reach into a page.
    private var reach: [Int32]

    /// An index over the symbols that have their addresses in `range`.
    public init(_ symbols: [Symbol], _ range: Range<VirtualAddress>) { self.init(SymbolList(symbols), range) }

    /// An index over the symbols that have their addresses in `range`.
    public init(_ symbols: SymbolList, _ range: Range<VirtualAddress>) {
        base = range.lowerBound
        self.symbols = symbols
        let lower = range.lowerBound.rawValue
        let size = range.upperBound.rawValue - lower
        let pages = Int(size >> 12) + 1
        last = [Int32](repeating: -1, count: pages)
        previous = [Int32](repeating: -1, count: symbols.count)
        /// The last page that symbols reach which begin in a page.
        var ends = [Int32](repeating: -1, count: pages)
        for i in symbols.indices {
            let symbol = symbols[i]
            let offset = symbol.value.rawValue &- lower
            guard offset < size, symbol.kind != .section, symbol.kind != .file else { continue }
            let page = Int(offset >> 12)
            previous[i] = last[page]
            last[page] = Int32(i)
            ends[page] = max(ends[page], Int32((min(offset + max(symbol.size, 1), size) - 1) >> 12))
        }
        reach = [Int32](repeating: 0, count: pages)
        var reached = 0
        for (page, end) in ends.enumerated() where Int(end) > max(reached, page) {
            for behind in max(reached, page) + 1...Int(end) { reach[behind] = Int32(behind - page) }
            reached = Int(end)
        }
    }

    /// The symbols whose bytes cover an address, the smallest first. Symbols without a size cover their own address.
    public func covering(_ address: VirtualAddress) -> [Symbol] { covering(address) { _ in true } }

    /// The function that covers an address: the smallest sized symbol of code there.
    public func function(at address: VirtualAddress) -> Symbol? {
        covering(address) { $0.size > 0 && ($0.kind == .function || $0.kind == .none) }.first
    }

    /// The lowest address behind this one at which a symbol begins.
    public func next(after address: VirtualAddress) -> VirtualAddress? {
        guard address >= base else { return nil }
        for page in min(pageNumber(address), last.count)..<last.count {
            if let next = beginning(in: page).map(\.value).filter({ $0 > address }).min() { return next }
        }
        return nil
    }

    /// From the end of the symbols before an address that none covers to the beginning of the next one.
    public func gap(around address: VirtualAddress) -> Range<VirtualAddress> {
        var end: VirtualAddress?
        var page = address >= base ? min(pageNumber(address), last.count - 1) : -1
        var lowest = page
        while page >= 0, end == nil || page >= lowest {
            // Where one begins whose last byte is in this page: it may end behind those found so far.
            lowest = min(lowest, page - Int(reach[page]))
            let ends = beginning(in: page).map(\.end).filter { $0 <= address } + (end.map { [$0] } ?? [])
            end = ends.max()
            page -= 1
        }
        return (end ?? base)..<max(next(after: address) ?? address + 1, address + 1)
    }

    /// Whether a symbol with a size begins in a range.
    public func begins(in range: Range<VirtualAddress>) -> Bool {
        guard range.lowerBound >= base, !range.isEmpty else { return false }
        let pages = pageNumber(range.lowerBound)..<pageNumber(range.upperBound + UInt64(pageSize - 1))
        return pages.clamped(to: 0..<last.count).contains { page in
            beginning(in: page).contains { $0.size > 0 && range.contains($0.value) }
        }
    }

    private func covering(_ address: VirtualAddress, where fits: (Symbol) -> Bool) -> [Symbol] {
        guard address >= base, pageNumber(address) < last.count else { return [] }
        let page = pageNumber(address)
        var found: [Symbol] = []
        for page in page - Int(reach[page])...page {
            var next = last[page]
            while next >= 0 {
                let symbol = symbols[Int(next)]
                if symbol.value == address || (symbol.value < address && address < symbol.end), fits(symbol) {
                    found.append(symbol)
                }
                next = previous[Int(next)]
            }
        }
        return found.sorted { ($0.size &- 1, $0.index) < ($1.size &- 1, $1.index) }
    }

    private func pageNumber(_ address: VirtualAddress) -> Int { Int((address - base) / UInt64(pageSize)) }

    private func beginning(in page: Int) -> [Symbol] {
        sequence(first: last[page]) { previous[Int($0)] }.prefix { $0 >= 0 }.map { symbols[Int($0)] }
    }
}

extension RawSpan {
    fileprivate func begins(with text: String, at offset: Int) -> Bool {
        var at = offset
        for byte in text.utf8 {
            guard at < byteCount, load(at, as: UInt8.self) == byte else { return false }
            at += 1
        }
        return true
    }
}
