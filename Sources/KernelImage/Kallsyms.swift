// SPDX-License-Identifier: MIT

// A distribution's kernel has no symbol table, but it carries one for its own
// messages: kallsyms, tables in rodata that no header names. They are found by
// what they must be. Names are packed with 256 tokens, and the index of these
// (256 ascending numbers that lead to the strings before them) is like nothing
// else in a kernel. From there the tables follow one another:
//
//     before 6.4:  offsets, relative_base | addresses; num_syms, names, markers,
//                  [seqs_of_names], token_table, token_index
//     since:       num_syms, names, markers, token_table, token_index,
//                  offsets, relative_base, seqs_of_names
//
// each on a multiple of eight bytes. Every count, marker, name and address must
// agree with all others, in one way only: what is read here decides which pages
// of a kernel stay.

import Addressing

extension KernelImage {
    /// The symbol table or, when the image has none, what the kernel itself knows of its symbols; nil without either.
    ///
    /// - Throws: `ImageError` of kind `.malformed` when they are damaged.
    public func symbols() throws(ImageError) -> SymbolTable? {
        if let table = try symbolTable() { return table }
        return try kallsyms()
    }

    /// The symbols of the kernel's own tables (CONFIG_KALLSYMS), or nil when the image has none that this can read:
    /// a 64-bit little-endian kernel's.
    ///
    /// The tables hold no sizes: a symbol ends where the next one begins, less padding, and no later than its section.
    ///
    /// - Throws: `ImageError` of kind `.malformed` when there are such tables and they do not hold together.
    public func kallsyms() throws(ImageError) -> SymbolTable? {
        guard header.is64Bit, header.isLittleEndian else { return nil }
        var found: (section: Section, tokens: KallsymsTokens)?
        for section in sections where section.isAllocated && !section.isExecutable && !section.isNoBits {
            for tokens in KallsymsTokens.find(in: file.bytes, section) {
                guard found == nil else {
                    throw damagedKallsyms("a second table of tokens", at: tokens.table)
                }
                found = (section, tokens)
            }
        }
        guard let found else { return nil }
        let start = Int(found.section.offset)
        let layout = try KallsymsLayout(self, start..<start + Int(found.section.size), found.tokens)
        let (letters, starts, names) = try expand(layout, found.tokens)
        let (place, addresses) = try addresses(layout, found.tokens, letters)
        // Behind the addresses in the newer order: the base and three bytes for every symbol.
        let end = place > layout.countAt ? place + 7 * layout.count + 24 : found.tokens.index + KallsymsTokens.indexSize
        let tables = min(place, layout.countAt)..<end
        let symbols = sized(addresses, letters, starts, tables: tables)
        return SymbolTable(
            symbols: SymbolList(symbols), names: .own(names),
            listsFunctionsOnly: !symbols.contains { $0.kind == .object || $0.section == 0xfff1 })
    }

    fileprivate func damagedKallsyms(_ what: String, at offset: Int) -> ImageError {
        ImageError(.malformed, file: path, offset: UInt64(offset), "kallsyms damaged: \(what)")
    }
}

/// Where the strings that names are packed with lie in the file.
private struct KallsymsTokens {
    static let indexSize = 512
    private static let longest = 512

    let table: Int
    let index: Int
    /// Where each string begins and ends.
    let strings: [Range<Int>]

    /// All tables of tokens in a section.
    static func find(in bytes: RawSpan, _ section: Section) -> [KallsymsTokens] {
        let start = Int(section.offset) + section.address.paddingToWord
        let end = Int(section.offset + section.size)
        var found: [KallsymsTokens] = []
        for at in stride(from: start, through: end - indexSize, by: 8) {
            let first = bytes.load(at, as: UInt64.self)
            guard first & 0xffff == 0 else { continue }
            let (a, b, c) = (first >> 16 & 0xffff, first >> 32 & 0xffff, first >> 48)
            guard 0 < a, a < b, b < c else { continue }
            let numbers = (0..<256).map { Int(bytes.load(at + 2 * $0, as: UInt16.self)) }
            guard zip(numbers, numbers.dropFirst()).allSatisfy({ $0 + 1 < $1 }) else { continue }
            let highest = at - numbers[255] - 2
            for table in stride(from: highest - (highest - start) % 8, through: max(start, highest - longest), by: -8) {
                if let tokens = KallsymsTokens(bytes, table, index: at, numbers) { found.append(tokens) }
            }
        }
        return found
    }

    private init?(_ bytes: RawSpan, _ table: Int, index: Int, _ numbers: [Int]) {
        guard (1..<256).allSatisfy({ bytes.load(table + numbers[$0] - 1, as: UInt8.self) == 0 }) else { return nil }
        var last = table + numbers[255]
        while last < index, bytes.load(last, as: UInt8.self) != 0 { last += 1 }
        guard last < index, last + 8 >= index, bytes.isZero(last..<index) else { return nil }
        let ends = numbers.dropFirst().map { table + $0 - 1 } + [last]
        strings = zip(numbers, ends).map { table + $0..<$1 }
        for string in strings {
            guard !string.isEmpty, string.allSatisfy({ bytes.load($0, as: UInt8.self) != 0 }) else { return nil }
        }
        // Characters that names have stand for themselves.
        for character in Array(UInt8(ascii: "0")...UInt8(ascii: "9")) + Array(UInt8(ascii: "a")...UInt8(ascii: "z")) {
            let string = strings[Int(character)]
            guard string.count == 1, bytes.load(string.lowerBound, as: UInt8.self) == character else { return nil }
        }
        self.table = table
        self.index = index
    }
}

/// Where the number of symbols, their names and the markers lie in the file.
private struct KallsymsLayout {
    /// Every so many symbols a marker says where the next name lies.
    private static let markerInterval = 256
    /// Bytes that a packed name may take, its length included.
    private static let longestName = 514

    let section: Range<Int>
    let count: Int
    let countAt: Int
    let names: Range<Int>

    private struct Markers: Hashable {
        let place: Range<Int>
        let values: [Int]
        /// How many symbols there can be.
        let counts: ClosedRange<Int>
    }

    init(
        _ image: borrowing KernelImage, _ section: Range<Int>, _ tokens: KallsymsTokens
    ) throws(ImageError) {
        self.section = section
        let bytes = image.file.bytes
        let candidates = Self.markers(bytes, section, before: tokens.table)
        var found: [(count: Int, names: Range<Int>)] = []
        var furthest = (symbols: 0, at: tokens.table, what: "no markers and names before the tokens that fit together")
        if let most = candidates.max(by: { $0.values.count < $1.values.count }), most.values.count > 1 {
            furthest.what = "no number of symbols and no names that fit the \(most.values.count) markers"
            furthest.at = most.place.lowerBound
        }
        for markers in candidates {
            let end = markers.place.lowerBound
            let highest = end - (markers.values.last ?? 0) - 2
            let lowest = max(section.lowerBound + 8, highest - Self.markerInterval * Self.longestName)
            for start in stride(from: highest - (highest - section.lowerBound) % 8, through: lowest, by: -8) {
                let word = bytes.load(start - 8, as: UInt64.self)
                guard word <= UInt64(markers.counts.upperBound), markers.counts.contains(Int(word)) else { continue }
                switch Self.walk(bytes, start..<end, Int(word), markers.values) {
                case nil: found.append((Int(word), start..<end))
                case let failure? where failure.symbols > furthest.symbols: furthest = failure
                default: break
                }
            }
        }
        guard found.count <= 1 else {
            throw image.damagedKallsyms("names that can be read in \(found.count) ways", at: found[0].names.lowerBound)
        }
        guard let only = found.first else { throw image.damagedKallsyms(furthest.what, at: furthest.at) }
        count = only.count
        names = only.names
        countAt = names.lowerBound - 8
    }

    /// What can be the markers: ascending numbers from zero, right before the tokens or with three bytes for every
    /// symbol between.
    private static func markers(_ bytes: RawSpan, _ section: Range<Int>, before end: Int) -> Set<Markers> {
        var found: Set<Markers> = []
        func read(_ at: Int, _ width: Int) -> UInt64 {
            width == 8 ? bytes.load(at, as: UInt64.self) : UInt64(bytes.load(at, as: UInt32.self))
        }
        func add(_ start: Int, _ count: Int, _ width: Int, _ counts: ClosedRange<Int>) {
            let values = (0..<count).map { Int(clamping: read(start + width * $0, width)) }
            guard values[0] == 0, zip(values, values.dropFirst()).allSatisfy({ $0 < $1 }),
                values[count - 1] < start - section.lowerBound
            else { return }
            let place = start..<start + (width * count).toWord
            guard bytes.isZero(start + width * count..<place.upperBound) else { return }
            found.insert(Markers(place: place, values: values, counts: counts))
        }
        for (width, padding) in [(4, 0), (4, 4), (8, 0)] {
            var at = end - padding - width
            while at > section.lowerBound, case let value = read(at, width), value > 0, value < UInt64(section.count) {
                at -= width
            }
            guard at >= section.lowerBound, (end - at) % 8 == 0 else { continue }
            let count = (end - padding - at) / width
            add(at, count, width, markerInterval * (count - 1) + 1...markerInterval * count)
        }
        for place in stride(from: end - 8, to: section.lowerBound, by: -8) {
            let (least, most) = ((end - place - 8) / 3 + 1, (end - place) / 3)
            guard least <= most else { continue }
            var count = (least + markerInterval - 1) / markerInterval
            while markerInterval * (count - 1) < most {
                let low = max(least, markerInterval * (count - 1) + 1)
                let high = min(most, markerInterval * count)
                for wide in 0...1 {
                    let width = 4 << wide
                    let start = place - (width * count).toWord
                    guard start > section.lowerBound, read(start, width) == 0,
                        count == 1 || read(start + width, width) &- 1 < UInt64(markerInterval * longestName)
                    else { continue }
                    add(start, count, width, low...high)
                }
                count += 1
            }
        }
        return found
    }

    /// Steps over all names; nil when they end where they should and meet every marker.
    private static func walk(
        _ bytes: RawSpan, _ place: Range<Int>, _ count: Int, _ markers: [Int]
    ) -> (symbols: Int, at: Int, what: String)? {
        var at = place.lowerBound
        for symbol in 0..<count {
            if symbol % markerInterval == 0, at - place.lowerBound != markers[symbol / markerInterval] {
                return (symbol, at, "the name of symbol \(symbol) of \(count) does not lie where its marker says")
            }
            guard let name = bytes.packedName(at, before: place.upperBound) else {
                return (symbol, at, "the name of symbol \(symbol) of \(count) is empty or has no end")
            }
            at = name.upperBound
        }
        guard at + 8 > place.upperBound, bytes.isZero(at..<place.upperBound) else {
            return (count, at, "more names than the \(count) symbols counted")
        }
        return nil
    }
}

/// How addresses are written.
private enum KallsymsForm: CaseIterable {
    /// 64 bits each.
    case whole
    /// 32 bits above the base.
    case relative
    /// 32 bits: from zero up a per-CPU variable's place, below zero the distance above the base, less one, inverted.
    case relativeOrPerCPU
}

extension KernelImage {
    /// The type letters of all symbols, where their names begin, and the names, each with a zero behind it.
    private func expand(
        _ layout: KallsymsLayout, _ tokens: KallsymsTokens
    ) throws(ImageError) -> (letters: [UInt8], starts: [UInt32], names: [UInt8]) {
        let bytes = file.bytes
        var strings: [UInt8] = []
        var places: [Range<Int>] = []
        for string in tokens.strings {
            places.append(strings.count..<strings.count + string.count)
            for at in string { strings.append(bytes.load(at, as: UInt8.self)) }
        }
        var letters: [UInt8] = []
        var starts: [UInt32] = []
        var names: [UInt8] = []
        letters.reserveCapacity(layout.count)
        starts.reserveCapacity(layout.count)
        names.reserveCapacity(3 * layout.names.count)
        var next = layout.names.lowerBound
        for symbol in 0..<layout.count {
            guard let name = bytes.packedName(next, before: layout.names.upperBound) else { break }
            let start = names.count
            var isLetter = true
            for at in name {
                for i in places[Int(bytes.load(at, as: UInt8.self))] {
                    let character = strings[i]
                    guard 0x21...0x7e ~= character else {
                        throw damagedKallsyms(
                            "the name of symbol \(symbol) of \(layout.count) has the character \(character)", at: at)
                    }
                    if isLetter { letters.append(character) } else { names.append(character) }
                    isLetter = false
                }
            }
            guard names.count > start, let letter = letters.last, Self.isLetter(letter) else {
                throw damagedKallsyms(
                    "the name of symbol \(symbol) of \(layout.count) does not begin with a type", at: next)
            }
            starts.append(UInt32(start))
            names.append(0)
            next = name.upperBound
        }
        // Searches look at four bytes at once.
        names += [0, 0, 0]
        return (letters, starts, names)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
    }

    /// Where the addresses lie in the file, and those of all symbols, ascending; per-CPU variables' begin at zero.
    private func addresses(
        _ layout: KallsymsLayout, _ tokens: KallsymsTokens, _ letters: [UInt8]
    ) throws(ImageError) -> (start: Int, addresses: [UInt64]) {
        let half = (4 * layout.count).toWord
        let behind = tokens.index + KallsymsTokens.indexSize
        let places: [(start: Int, base: Int?, forms: [KallsymsForm])] = [
            (layout.countAt - 8 * layout.count, nil, [.whole]),
            (layout.countAt - 8 - half, layout.countAt - 8, [.relative, .relativeOrPerCPU]),
            (behind, behind + half, [.relative, .relativeOrPerCPU]),
        ]
        let kernel = sections.filter { $0.isAllocated && $0.size > 0 && $0.address.isKernel }
        let lowest = kernel.map(\.address.rawValue).min() ?? .max
        let highest = kernel.map(\.end.rawValue).max() ?? 0
        var found: [(start: Int, addresses: [UInt64])] = []
        var furthest = (symbols: -1, at: layout.countAt, what: "no addresses that fit the \(layout.count) names")
        for place in places {
            let end = place.base.map { $0 + 8 } ?? place.start + 8 * layout.count
            guard place.start >= layout.section.lowerBound, end <= layout.section.upperBound else { continue }
            let base = place.base.map { file.bytes.load($0, as: UInt64.self) } ?? 0
            for form in place.forms {
                let (addresses, failure) = read(form, place.start, base, letters, in: lowest, highest)
                if let failure {
                    if addresses.count > furthest.symbols {
                        let size = form == .whole ? 8 : 4
                        furthest = (addresses.count, place.start + size * addresses.count, failure)
                    }
                } else {
                    found.append((place.start, addresses))
                }
            }
        }
        guard found.count <= 1 else {
            throw damagedKallsyms("addresses that can be read in \(found.count) ways", at: found[0].start)
        }
        guard let only = found.first else { throw damagedKallsyms(furthest.what, at: furthest.at) }
        return only
    }

    /// The addresses up to the first that cannot be one, and what is wrong with that.
    private func read(
        _ form: KallsymsForm, _ start: Int, _ base: UInt64, _ letters: [UInt8], in lowest: UInt64, _ highest: UInt64
    ) -> ([UInt64], failure: String?) {
        let bytes = file.bytes
        var addresses: [UInt64] = []
        addresses.reserveCapacity(letters.count)
        var previous: UInt64 = 0
        var hasText = false
        for symbol in letters.indices {
            let address: UInt64
            let letter = letters[symbol] | 0x20
            switch form {
            case .whole: address = bytes.load(start + 8 * symbol, as: UInt64.self)
            case .relative: address = base &+ UInt64(bytes.load(start + 4 * symbol, as: UInt32.self))
            case .relativeOrPerCPU:
                let offset = Int64(bytes.load(start + 4 * symbol, as: Int32.self))
                address = offset >= 0 ? UInt64(offset) : base &+ UInt64(-1 - offset)
            }
            func failure(_ what: String) -> ([UInt64], String?) {
                (addresses, "symbol \(symbol) of \(letters.count), at \(address.hex), \(what)")
            }
            guard address >= previous else { return failure("lies below the one before it, at \(previous.hex)") }
            let isPerCPU = form != .relative && address < 1 << 31
            guard isPerCPU || lowest...highest ~= address else { return failure("lies outside the image") }
            guard isPerCPU == (letter == UInt8(ascii: "a")) || form == .relative else {
                return failure("is a per-CPU variable by its type or by its address, not by both")
            }
            if !isPerCPU, !hasText {
                guard form == .whole || address == base else { return failure("is the first and not at \(base.hex)") }
                guard letter == UInt8(ascii: "t") || letter == UInt8(ascii: "w") else {
                    return failure("is the first of the image and not code")
                }
                hasText = true
            }
            addresses.append(address)
            previous = address
        }
        return (addresses, hasText ? nil : "no symbol of code")
    }

    private func sized(
        _ addresses: [UInt64], _ letters: [UInt8], _ names: [UInt32], tables: Range<Int>
    ) -> [Symbol] {
        let kernel = sections.filter { $0.isAllocated && $0.size > 0 && $0.address.isKernel }
            .sorted { $0.address < $1.address }
        let extents = KallsymsExtents(self, addresses, kernel, tables: tables)
        var symbols: [Symbol] = []
        symbols.reserveCapacity(addresses.count)
        var extent = 0
        for i in addresses.indices {
            while extents.all[extent].address != addresses[i] { extent += 1 }
            let (section, size) = (extents.all[extent].section, UInt32(clamping: extents.all[extent].size))
            let isAbsolute = letters[i] | 0x20 == UInt8(ascii: "a")
            symbols.append(
                Symbol(
                    value: VirtualAddress(addresses[i]), byteCount: isAbsolute ? 0 : size, nameOffset: names[i],
                    index: UInt32(i), section: isAbsolute ? 0xfff1 : UInt16(kernel[section].index),
                    kind: size == 0 || isAbsolute ? .none : Self.kind(letters[i], kernel[section])))
        }
        return symbols
    }

    private static func kind(_ letter: UInt8, _ section: Section) -> Symbol.Kind {
        switch letter | 0x20 {
        case UInt8(ascii: "t"), UInt8(ascii: "w"): section.isExecutable ? .function : .none
        case UInt8(ascii: "d"), UInt8(ascii: "b"), UInt8(ascii: "r"), UInt8(ascii: "v"), UInt8(ascii: "g"): .object
        default: .none
        }
    }
}

/// What the tables do not hold: how many bytes there are at each address of a symbol. All up to the next one, but for
/// what has no symbol of its own: padding behind code, these tables, string literals. A label inside a function takes
/// nothing, and the function goes on behind it.
private struct KallsymsExtents {
    struct Extent {
        let address: UInt64
        /// In the ascending sections of the kernel.
        let section: Int
        var size: UInt64 = 0
        /// Where the next one begins is padding before it.
        var isPadded = false
        var last = LastInstruction.other
    }

    /// What the last instruction before the end is.
    enum LastInstruction: Equatable {
        case leaves, other
        case call(UInt64)
    }

    private(set) var all: [Extent] = []

    init(_ image: borrowing KernelImage, _ addresses: [UInt64], _ sections: [Section], tables: Range<Int>) {
        let executable = sections.filter(\.isExecutable)
        let code = (executable.first?.address.rawValue ?? 0)..<(executable.last?.end.rawValue ?? 0)
        all.reserveCapacity(addresses.count)
        var home = 0
        for address in addresses where all.last?.address != address {
            while home + 1 < sections.count, sections[home + 1].address.rawValue <= address { home += 1 }
            all.append(Extent(address: address, section: home))
        }
        for i in all.indices {
            let section = sections[all[i].section]
            let next = i + 1 < all.count ? all[i + 1].address : .max
            let (start, end) = (all[i].address, min(next, section.end.rawValue))
            guard section.address.rawValue <= start, start < end else { continue }
            all[i].size = end - start
            if section.isNoBits { continue }
            let offset = Int(section.offset + (start - section.address.rawValue))
            let bytes = image.file.bytes.extracting(offset..<offset + Int(end - start))
            if !section.isExecutable {
                let limit = offset < tables.lowerBound ? tables.lowerBound : tables.upperBound
                let size = offset < limit ? min(bytes.byteCount, limit - offset) : bytes.byteCount
                all[i].size = UInt64(bytes.extracting(0..<size).withoutStringLiterals)
            } else if image.header.machine == 62 {
                let size = bytes.withoutX86Padding
                all[i].size = UInt64(size == 0 ? bytes.withoutFill : size)
                all[i].isPadded = size < bytes.byteCount
                all[i].last = bytes.lastX86Instruction(before: size, at: start, in: code)
            } else {
                all[i].size = UInt64(bytes.withoutFill)
                all[i].last = .leaves
            }
        }
        joinLabels(sections)
    }

    private mutating func joinLabels(_ sections: [Section]) {
        // What is called last, with padding behind, does not return.
        var noReturn: Set<UInt64> = []
        for extent in all where extent.isPadded {
            if case .call(let target) = extent.last { noReturn.insert(target) }
        }
        let starts = Set(all.map(\.address))
        var function = 0
        for i in all.indices.dropFirst() {
            let before = all[i - 1]
            var isLabel = false
            let section = sections[all[i].section]
            if section.isExecutable, section.address.rawValue <= before.address, !before.isPadded {
                switch before.last {
                case .leaves: break
                case .other: isLabel = true
                case .call(let target): isLabel = !(starts.contains(target) && noReturn.contains(target))
                }
            }
            if isLabel {
                all[function].size = all[i].address + all[i].size - all[function].address
                all[i].size = 0
            } else {
                function = i
            }
        }
    }
}

extension RawSpan {
    fileprivate func isZero(_ range: Range<Int>) -> Bool { range.allSatisfy { load($0, as: UInt8.self) == 0 } }

    /// The token numbers of the name at an offset: behind its length, which takes a second byte if bit 7 is set.
    fileprivate func packedName(_ offset: Int, before end: Int) -> Range<Int>? {
        guard offset + 1 < end else { return nil }
        var start = offset + 1
        var length = Int(load(offset, as: UInt8.self))
        if length >= 0x80 {
            length = length & 0x7f | Int(load(start, as: UInt8.self)) << 7
            start += 1
        }
        guard length > 0, start + length <= end else { return nil }
        return start..<start + length
    }

    /// How many bytes there are before a long run of one byte at the end.
    fileprivate var withoutFill: Int {
        var end = byteCount
        guard end > 0, case let fill = load(end - 1, as: UInt8.self) else { return 0 }
        while end > 0, load(end - 1, as: UInt8.self) == fill { end -= 1 }
        return byteCount - end > 64 ? end : byteCount
    }

    /// How many bytes there are before a page's worth of nothing but text; of such text itself, the first string.
    fileprivate var withoutStringLiterals: Int {
        var start = 0
        while start + pageSize < byteCount {
            guard let other = lastBesidesText(in: start..<start + pageSize) else {
                return start > 0 ? start : (0..<byteCount).first { load($0, as: UInt8.self) == 0 }.map { $0 + 1 } ?? 0
            }
            start = other + 1
        }
        return byteCount
    }

    /// The last byte that string literals cannot have.
    private func lastBesidesText(in range: Range<Int>) -> Int? {
        var zeros = 0
        for at in range.reversed() {
            let byte = load(at, as: UInt8.self)
            zeros = byte == 0 ? zeros + 1 : 0
            // Literals are aligned to eight bytes at most; messages begin with a level behind a byte of 1.
            guard zeros <= 8, byte < 0x7f, byte >= 0x20 || byte <= 1 || byte == 9 || byte == 10 else { return at }
        }
        return nil
    }

    /// How many bytes there are before the instructions that assemblers and linkers pad code with.
    fileprivate var withoutX86Padding: Int {
        var end = withoutFill
        while end > 0 {
            let last = load(end - 1, as: UInt8.self)
            if last == 0xcc || last == 0x90 {
                end -= 1
                if last == 0x90, end > 0, load(end - 1, as: UInt8.self) == 0x66 { end -= 1 }
            } else if let length = x86LongNop(before: end) {
                end -= length
            } else {
                break
            }
        }
        // One int3 belongs to a return: it stops speculation.
        guard end > 0, end < byteCount, load(end - 1, as: UInt16.self) == 0xccc3 else { return end }
        return end + 1
    }

    /// What the instruction before an offset does, from its last bytes.
    fileprivate func lastX86Instruction(
        before end: Int, at address: UInt64, in code: Range<UInt64>
    ) -> KallsymsExtents.LastInstruction {
        func byte(_ back: Int) -> UInt8 { end >= back ? load(end - back, as: UInt8.self) : 0 }
        if byte(5) == 0xe8 || byte(5) == 0xe9 {
            let target = address &+ UInt64(end) &+ UInt64(bitPattern: Int64(load(end - 4, as: Int32.self)))
            if code.contains(target) { return byte(5) == 0xe8 ? .call(target) : .leaves }
        }
        switch (byte(2), byte(1)) {
        case (_, 0xc3), (_, 0xcc), (_, 0xcb), (_, 0xcf): return .leaves  // ret, int3, lret, iret
        case (0xeb, _), (0xff, 0xe0...0xe7), (0x0f, 0x0b), (0x0f, 0x07), (0x0f, 0x35): return .leaves
        default: return byte(7) == 0xff && byte(6) == 0x24 ? .leaves : .other
        }
    }

    /// The length of `nop` with a memory operand that ends at an offset.
    private func x86LongNop(before end: Int) -> Int? {
        for (operand, displacement) in [(0x00, 0), (0x40, 1), (0x44, 2), (0x80, 4), (0x84, 5)] {
            let start = end - displacement - 3
            guard start >= 0, load(start, as: UInt16.self) == 0x1f0f,
                load(start + 2, as: UInt8.self) == UInt8(operand), isZero(start + 3..<end)
            else { continue }
            var first = start
            while first > 0, [0x66, 0x2e].contains(load(first - 1, as: UInt8.self)) { first -= 1 }
            return end - first
        }
        return nil
    }
}

extension Int {
    /// Rounded up to eight bytes.
    fileprivate var toWord: Int { (self + 7) & ~7 }
}

extension VirtualAddress {
    /// In the upper half: not a place in the template of per-CPU variables.
    fileprivate var isKernel: Bool { rawValue >> 63 == 1 }
    fileprivate var paddingToWord: Int { Int((0 &- rawValue) & 7) }
}
