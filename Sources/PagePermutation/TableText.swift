// SPDX-License-Identifier: MIT

// Reads a table back from the forms for other programs (TableFormat.swift): they
// differ in punctuation and in how their fields are called, so one reader takes
// fields and the numbers behind them and leaves out the rest.

import Addressing

extension TranslationTable {
    private enum Field: CaseIterable {
        case virtualBase, physicalBase, pages, forward, inverse

        /// As JSON, C and assembler have it.
        var names: Set<String> {
            switch self {
            case .virtualBase: ["virtualBase", "KPERM_VIRTUAL_BASE", "kperm_virtual_base"]
            case .physicalBase: ["physicalBase", "KPERM_PHYSICAL_BASE", "kperm_physical_base"]
            case .pages: ["pages", "KPERM_PAGES", "kperm_pages"]
            case .forward: ["forward", "kperm_frame_of_page"]
            case .inverse: ["inverse", "kperm_page_in_frame"]
            }
        }
    }

    /// Whether a file may be a table as JSON, a C header or assembler: by its first bytes.
    public static func isText(_ bytes: RawSpan) -> Bool {
        let beginning = (0..<min(bytes.byteCount, 512)).map { TableLookup.read(bytes, $0, UInt8.self) }
        guard let first = beginning.first,
            first == UInt8(ascii: "{") || first == UInt8(ascii: "/") || first == UInt8(ascii: "#")
        else { return false }
        let text = String(decoding: beginning, as: UTF8.self)
        return text.contains("\"forward\"") || text.contains("Translation table made by kperm")
    }

    /// Reads a table as JSON, a C header or assembler, and checks that it is a bijection both ways. Only JSON says
    /// who drew it: the others count as drawn by the tool.
    public init(readingText bytes: RawSpan) throws(TableError) {
        var fields: [Field: [UInt64]] = [:]
        var field: Field?
        var isBaked = true
        var at = 0
        var last = UInt8(ascii: " ")
        func byte(_ place: Int) -> UInt8 { place < bytes.byteCount ? TableLookup.read(bytes, place, UInt8.self) : 0 }
        while at < bytes.byteCount {
            guard byte(at).isPartOfWord else {
                if byte(at) != UInt8(ascii: " ") { last = byte(at) }
                at += 1
                continue
            }
            let start = at
            while byte(at).isPartOfWord { at += 1 }
            let word = (start..<at).map(byte)
            if let number = Self.number(word) {
                if let field { fields[field, default: []].append(number) }
                continue
            }
            let name = String(decoding: word, as: UTF8.self)
            switch name {
            case "long", "quad": break
            case "false": isBaked = false
            // The size of an array in C.
            case _ where last == UInt8(ascii: "["): break
            default: field = Field.allCases.first { $0.names.contains(name) }
            }
        }
        func only(_ field: Field) throws(TableError) -> UInt64 {
            guard let numbers = fields[field], numbers.count == 1 else { throw .notATable }
            return numbers[0]
        }
        let pages = try only(.pages)
        let (forward, inverse) = (fields[.forward] ?? [], fields[.inverse] ?? [])
        guard pages > 0, forward.count == pages, inverse.count == pages else { throw .notATable }
        for page in forward.indices {
            guard forward[page] < pages, inverse[Int(forward[page])] == page else { throw .notABijection(page: page) }
        }
        self.forward = forward.map { UInt32(truncatingIfNeeded: $0) }
        self.inverse = inverse.map { UInt32(truncatingIfNeeded: $0) }
        virtualBase = VirtualAddress(try only(.virtualBase))
        physicalBase = PhysicalAddress(try only(.physicalBase))
        self.isBaked = isBaked
    }

    /// Decimal or, with 0x, hexadecimal; with what C says of its type.
    private static func number(_ word: [UInt8]) -> UInt64? {
        var digits = word[...]
        while let suffix = digits.last, suffix == UInt8(ascii: "u") || suffix == UInt8(ascii: "l") {
            digits.removeLast()
        }
        let isHexadecimal = digits.starts(with: "0x".utf8)
        if isHexadecimal { digits = digits.dropFirst(2) }
        return UInt64(String(decoding: digits, as: UTF8.self), radix: isHexadecimal ? 16 : 10)
    }
}

extension UInt8 {
    fileprivate var isPartOfWord: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
