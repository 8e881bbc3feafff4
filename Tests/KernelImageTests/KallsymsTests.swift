// SPDX-License-Identifier: MIT

// A kernel's own symbols, from tables that a generator here lays down as
// scripts/kallsyms does, in both orders and all forms of addresses; and what
// damage to them is refused with.

import Addressing
import Testing

@testable import KernelImage

/// How tables are written.
struct TableForm: Sendable, CustomStringConvertible {
    enum Addresses: Sendable { case whole, relative, relativeOrPerCPU }

    var isNewOrder = false
    var addresses = Addresses.relativeOrPerCPU
    var markerWidth = 4
    var hasSequences = false
    var symbolCount = 600

    var description: String {
        "\(isNewOrder ? "new" : "old") order, \(addresses), markers of \(markerWidth), "
            + "\(hasSequences ? "" : "no ")sequences, \(symbolCount) symbols"
    }

    static let all: [TableForm] = [
        TableForm(), TableForm(hasSequences: true), TableForm(symbolCount: 3), TableForm(symbolCount: 256),
        TableForm(hasSequences: true, symbolCount: 257), TableForm(addresses: .relative),
        TableForm(addresses: .relative, markerWidth: 8), TableForm(addresses: .whole, markerWidth: 8),
        TableForm(addresses: .whole), TableForm(hasSequences: true, symbolCount: 512),
        TableForm(isNewOrder: true, hasSequences: true), TableForm(isNewOrder: true, addresses: .relative),
        TableForm(isNewOrder: true, addresses: .relative, hasSequences: true, symbolCount: 1025),
    ]
}

/// A tiny ELF file with `.text`, `.rodata` that holds the tables, and `.bss`, without a symbol table.
struct TinyKernel {
    static let text: UInt64 = 0xffff_ffff_8100_0000
    static let rodata: UInt64 = text + 0x10000
    static let bss: UInt64 = rodata + 0x20000
    private static let textOffset = 0x1000
    static let rodataOffset = 0x11000

    struct Entry: Equatable {
        var address: UInt64
        var letter: Character
        var name: String
    }

    let entries: [Entry]
    private(set) var bytes: [UInt8]
    /// Where each table begins in the file.
    private(set) var places: [String: Int] = [:]

    /// Where the section header of `.rodata` says how many bytes there are.
    private(set) var rodataSizeAt = 0

    /// `behind` comes right behind the tables.
    init(_ form: TableForm, behind: [UInt8] = []) {
        var entries: [Entry] = []
        if form.addresses != .relative {
            entries += (0..<2).map { Entry(address: UInt64($0) * 8, letter: "A", name: "per_cpu_\($0)") }
        }
        entries.append(Entry(address: Self.text, letter: "T", name: "_text"))
        while entries.count < form.symbolCount - 1 {
            let i = entries.count
            let name = i == 5 ? "long_" + String(repeating: "x", count: 200) : "function_\(i % 7).\(i)"
            entries.append(Entry(address: Self.text + UInt64(i) * 16, letter: "t", name: name))
        }
        if entries.count < form.symbolCount {
            entries.append(Entry(address: Self.bss + 0x1000, letter: "B", name: "_end"))
        }
        self.entries = entries
        bytes = []
        build(form, behind)
    }

    private mutating func build(_ form: TableForm, _ behind: [UInt8]) {
        var tokens = (0..<256).map { $0 > 32 && $0 < 127 ? [UInt8($0)] : Array("function_".utf8) }
        for i in 0..<256 where tokens[i].count > 1 { tokens[i] += Array("\(i).".utf8) }
        tokens[1] = Array("tfunction_".utf8)
        var names: [UInt8] = []
        var markers: [Int] = []
        for (i, entry) in entries.enumerated() {
            if i % 256 == 0 { markers.append(names.count) }
            var packed = Array((String(entry.letter) + entry.name).utf8)
            if packed.starts(with: tokens[1]) { packed.replaceSubrange(0..<tokens[1].count, with: [1]) }
            if packed.count > 0x7f {
                names += [UInt8(packed.count & 0x7f | 0x80), UInt8(packed.count >> 7)] + packed
            } else {
                names += [UInt8(packed.count)] + packed
            }
        }
        let base = Self.text
        var rodata: [UInt8] = Array("unrelated".utf8)
        func begin(_ table: String, _ places: inout [String: Int]) {
            while rodata.count % 8 != 0 { rodata.append(0) }
            places[table] = Self.rodataOffset + rodata.count
        }
        func put(_ value: UInt64, _ width: Int) {
            for i in 0..<width { rodata.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(i)))) }
        }
        func addresses(_ places: inout [String: Int]) {
            begin("addresses", &places)
            for entry in entries {
                switch form.addresses {
                case .whole: put(entry.address, 8)
                case .relative: put(entry.address - base, 4)
                case .relativeOrPerCPU: put(entry.letter == "A" ? entry.address : base &- entry.address &- 1, 4)
                }
            }
            if form.addresses == .whole { return }
            begin("base", &places)
            put(base, 8)
        }
        func sequences(_ places: inout [String: Int]) {
            begin("sequences", &places)
            for i in entries.indices.reversed() { rodata += [UInt8(i >> 16), UInt8(i >> 8 & 255), UInt8(i & 255)] }
        }
        if !form.isNewOrder { addresses(&places) }
        begin("count", &places)
        put(UInt64(entries.count), 4)
        begin("names", &places)
        rodata += names
        begin("markers", &places)
        for marker in markers { put(UInt64(marker), form.markerWidth) }
        if form.hasSequences && !form.isNewOrder { sequences(&places) }
        begin("tokens", &places)
        var index: [Int] = []
        let start = rodata.count
        for token in tokens {
            index.append(rodata.count - start)
            rodata += token + [0]
        }
        begin("index", &places)
        for number in index { put(UInt64(number), 2) }
        if form.isNewOrder {
            addresses(&places)
            if form.hasSequences { sequences(&places) }
        }
        begin("end", &places)
        rodata += behind + Array("behind the tables".utf8)
        file(rodata)
    }

    private mutating func file(_ rodata: [UInt8]) {
        // Functions of eight bytes that return, padded.
        let code: [UInt8] = [0x31, 0xc0, 0x0f, 0x1f, 0x00, 0xff, 0xc0, 0xc3] + Array(repeating: 0xcc, count: 8)
        let names = Array("\0.text\0.rodata\0.bss\0.shstrtab\0".utf8)
        let namesOffset = Self.rodataOffset + rodata.count
        let headersOffset = (namesOffset + names.count + 7) & ~7
        func put(_ value: UInt64, _ width: Int) {
            for i in 0..<width { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(i)))) }
        }
        bytes = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + Array(repeating: 0, count: 9)
        for (value, width) in [
            (2, 2), (62, 2), (1, 4), (Self.text, 8), (0, 8), (UInt64(headersOffset), 8), (0, 4), (64, 2), (56, 2),
            (0, 2), (64, 2), (5, 2), (4, 2),
        ] { put(value, width) }
        bytes += Array(repeating: 0, count: Self.textOffset - bytes.count)
        for _ in 0..<0x10000 / code.count { bytes += code }
        bytes += rodata + names
        bytes += Array(repeating: 0, count: headersOffset - bytes.count + 64)
        rodataSizeAt = headersOffset + 2 * 64 + 32
        let sections: [(name: UInt64, type: UInt64, flags: UInt64, address: UInt64, offset: Int, size: Int)] = [
            (1, 1, 6, Self.text, Self.textOffset, 0x10000), (7, 1, 2, Self.rodata, Self.rodataOffset, rodata.count),
            (15, 8, 3, Self.bss, 0, 0x1000), (20, 3, 0, 0, namesOffset, names.count),
        ]
        for section in sections {
            put(section.name, 4)
            put(section.type, 4)
            for value in [
                section.flags, section.address, UInt64(section.offset), UInt64(section.size), 0, 8, 0,
            ] { put(value, 8) }
        }
    }

    func place(_ table: String) throws -> Int { try #require(places[table]) }

    /// What the file's kallsyms say, with these bytes written over it.
    func decoded(damage: [(at: Int, bytes: [UInt8])] = []) throws -> [Entry]? {
        let file = try ScratchFile(bytes)
        for (at, bytes) in damage { file.write(bytes, at: at) }
        let image = try file.open()
        guard let table = try image.kallsyms() else { return nil }
        return zip(table.symbols, entries).map { symbol, entry in
            Entry(address: symbol.value.rawValue, letter: entry.letter, name: table.name(of: symbol, in: image))
        }
    }
}

struct KallsymsTests {
    @Test(arguments: TableForm.all) func allForms(form: TableForm) throws {
        let kernel = TinyKernel(form)
        #expect(try kernel.decoded() == kernel.entries)
    }

    @Test func kindsSectionsAndSizes() throws {
        let kernel = TinyKernel(TableForm())
        let image = try ScratchFile(kernel.bytes).open()
        let symbols = try #require(try image.symbols()).symbols
        let found = [0, 2, 3, 598, 599].map { i -> String in
            let symbol = symbols[i]
            return "\(symbol.value) \(symbol.size) \(symbol.kind) \(symbol.section)"
        }
        #expect(
            found == [
                "0x0 0 none 65521", "0xffffffff81000000 41 function 1", "0xffffffff81000030 9 function 1",
                "0xffffffff81002560 55961 function 1", "0xffffffff81031000 0 none 3",
            ])
    }

    @Test func namesAreFound() throws {
        let image = try ScratchFile(TinyKernel(TableForm()).bytes).open()
        let table = try #require(try image.kallsyms())
        let found = table.find(["_text", "function_3", "per_cpu_1", "function_", "_end"], in: image)
        #expect(Set(found.keys) == ["_text", "function_3", "per_cpu_1", "_end"])
        #expect(found["function_3"]?.count == 86)
        #expect(found["_end"]?.map(\.value.rawValue) == [TinyKernel.bss + 0x1000])
    }

    @Test func noTables() async throws {
        let image = try ScratchFile(await fixture("tiny")).open()
        let isAbsent = try image.kallsyms() == nil
        #expect(isAbsent)
    }

    /// A table, what is written over it at how many bytes from its start, and what is said.
    static let damages: [(table: String, offset: Int, bytes: [UInt8], says: String)] = [
        ("count", 0, [0x57], "more names than the 599 symbols counted"),
        ("count", 0, [0x59], "the name of symbol 600 of 601 is empty or has no end"),
        ("count", 0, [0, 0, 0, 1], "no number of symbols and no names that fit the 3 markers"),
        ("names", 0, [0], "no number of symbols and no names that fit the 3 markers"),
        ("names", 0, [12], "the name of symbol 256 of 600 does not lie where its marker says"),
        ("names", 1, [0x5f], "the name of symbol 0 of 600 does not begin with a type"),
        ("names", 1, [0x54], "symbol 2 of 600, at 0x80ffffff, lies below the one before it"),
        ("markers", 0, [1], "no markers and names before the tokens that fit together"),
        ("markers", 4, [0xff, 0xff], "no markers and names before the tokens that fit together"),
        ("markers", 4, [0, 0], "no number of symbols and no names that fit the 2 markers"),
        ("addresses", 0, [0xff, 0xff, 0xff, 0xff], "symbol 0 of 600, at 0x80ffffff, lies outside the image"),
        ("addresses", 400, [0, 0, 0, 0], "symbol 100 of 600, at 0x0, lies below the one before it, at 0xff"),
        ("base", 0, [8], "symbol 599 of 600, at 0xffffffff81031008, lies outside the image"),
        ("base", 6, [0, 0], "symbol 2 of 600, at 0xffff81000000, lies outside the image"),
    ]

    @Test(arguments: [false, true], damages.indices) func damage(isNewOrder: Bool, index: Int) throws {
        let damage = Self.damages[index]
        let kernel = TinyKernel(TableForm(isNewOrder: isNewOrder, hasSequences: isNewOrder))
        let at = try kernel.place(damage.table) + damage.offset
        let error = #expect(throws: ImageError.self) { try kernel.decoded(damage: [(at, damage.bytes)]) }
        let description = error?.description ?? ""
        #expect(error?.kind == .malformed && error?.offset != nil)
        #expect(description.contains("kallsyms damaged: "))
        #expect(description.contains(damage.says), "\(description)")
    }

    /// The section ends in the middle of a table.
    @Test(arguments: ["addresses", "base"]) func cut(table: String) throws {
        let kernel = TinyKernel(TableForm(isNewOrder: true))
        let size = try kernel.place(table) + 4 - TinyKernel.rodataOffset
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: size >> (8 * $0)) }
        let error = #expect(throws: ImageError.self) { try kernel.decoded(damage: [(kernel.rodataSizeAt, bytes)]) }
        #expect(error?.message == "kallsyms damaged: no addresses that fit the 600 names")
    }

    @Test func twoTablesOfTokens() throws {
        let kernel = TinyKernel(TableForm())
        let tokens = try kernel.place("tokens")
        let copy = Array(kernel.bytes[tokens..<(try kernel.place("end"))])
        let error = #expect(throws: ImageError.self) {
            try TinyKernel(TableForm(), behind: copy).decoded()
        }
        #expect(error?.message == "kallsyms damaged: a second table of tokens")
    }
}
