// SPDX-License-Identifier: MIT

// Looks for a translation table in text: numbers that stand in the order of the
// table, with up to two others between them, and lines that name an address of the
// image together with the place that its page really has.

import Addressing
import CLinux
import PagePermutation

struct TextSearch {
    /// What a number may be.
    private enum Form: Int, CaseIterable {
        case hexadecimalFrame, decimalFrame, hexadecimalPage, decimalPage, physicalAddress, hexadecimalFrameOfAll
        case decimalFrameOfAll, virtualAddress

        /// The place in a table whose order is by pages, or by frames.
        var isForward: Bool {
            switch self {
            case .hexadecimalPage, .decimalPage, .virtualAddress: false
            default: true
            }
        }
    }

    /// A number of the text as the last of a row.
    private struct Step {
        /// By form: what it stands for (a page, where the order is by pages), and how long the row is.
        var place = [Int](repeating: -2, count: Form.allCases.count)
        var length = [Int](repeating: 0, count: Form.allCases.count)
    }

    private struct Number {
        var hexadecimal: UInt64?
        var decimal: UInt64?
        var digits: Int
    }

    private static let memory = 3
    private static let physicalBaseWord = Array("NUMBER(phys_base)=".utf8)

    private let table: TranslationTable
    private let linkedBase: VirtualAddress
    private let isBaseSecret: Bool

    init(_ search: TableSearch) {
        table = search.table
        linkedBase = search.linkedBase
        isBaseSecret = search.isBaseSecret
    }

    func look(at text: RawSpan, _ revealed: inout Revealed) {
        if isBaseSecret, text.offset(of: Self.physicalBaseWord, from: 0) != nil { revealed.base = true }
        var steps = [Step](repeating: Step(), count: Self.memory)
        var addresses: [Int] = []
        var frames: [Int] = []
        var at = 0
        while at < text.byteCount {
            let byte = text.byte(at: at)
            if byte == UInt8(ascii: "\n") {
                pair(addresses, frames, &revealed)
                addresses.removeAll(keepingCapacity: true)
                frames.removeAll(keepingCapacity: true)
            }
            guard Self.isWord(byte) else {
                at += 1
                continue
            }
            var end = at
            while end < text.byteCount, Self.isWord(text.byte(at: end)) { end += 1 }
            if let number = Self.number(text, at..<end) {
                if isBaseSecret, number.hexadecimal == table.physicalBase.rawValue, number.digits > 5 {
                    revealed.base = true
                }
                if let page = page(number) { addresses.append(page) }
                frames += self.frames(number)
                extend(&steps, number, &revealed)
            }
            at = end
        }
        pair(addresses, frames, &revealed)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "$"), 0x80...:
            true
        default: false
        }
    }

    /// What a word is as a number, if it is one all through.
    private static func number(_ text: RawSpan, _ word: Range<Int>) -> Number? {
        let isMarked =
            word.count > 2 && text.byte(at: word.lowerBound) == UInt8(ascii: "0")
            && text.byte(at: word.lowerBound + 1) | 0x20 == UInt8(ascii: "x")
        let digits = isMarked ? word.lowerBound + 2..<word.upperBound : word
        guard digits.count <= 16 else { return nil }
        var hexadecimal: UInt64 = 0
        var decimal: UInt64? = isMarked ? nil : 0
        for at in digits {
            guard let digit = text.digit(at: at) else { return nil }
            hexadecimal = hexadecimal << 4 | UInt64(digit)
            decimal = digit < 10 ? decimal.map { $0 &* 10 &+ UInt64(digit) } : nil
        }
        return Number(hexadecimal: hexadecimal, decimal: decimal, digits: digits.count)
    }

    // MARK: Rows

    private func extend(_ steps: inout [Step], _ number: Number, _ revealed: inout Revealed) {
        var step = Step()
        for form in Form.allCases {
            guard let value = value(number, form), value < UInt64(table.pageCount) else { continue }
            let order = form.isForward ? table.forward : table.inverse
            let place = Int(form.isForward ? table.inverse[Int(value)] : table.forward[Int(value)])
            guard value != UInt64(place) else { continue }
            step.place[form.rawValue] = place
            step.length[form.rawValue] = 1
            guard place > 0, UInt64(order[place - 1]) + 1 != value else { continue }
            for before in steps where before.place[form.rawValue] == place - 1 {
                step.length[form.rawValue] = max(step.length[form.rawValue], before.length[form.rawValue] + 1)
            }
            guard step.length[form.rawValue] >= TableSearch.window else { continue }
            for at in place - TableSearch.window + 1...place {
                revealed.pages.insert(form.isForward ? at : Int(order[at]))
            }
        }
        steps.removeFirst()
        steps.append(step)
    }

    private func value(_ number: Number, _ form: Form) -> UInt64? {
        let first = table.physicalBase.rawValue
        return switch form {
        case .hexadecimalFrame, .hexadecimalPage: number.hexadecimal
        case .decimalFrame, .decimalPage: number.decimal
        case .physicalAddress: number.hexadecimal.map { ($0 &- first) >> 12 }
        case .hexadecimalFrameOfAll: number.hexadecimal.map { $0 &- first >> 12 }
        case .decimalFrameOfAll: number.decimal.map { $0 &- first >> 12 }
        case .virtualAddress: number.hexadecimal.map { ($0 &- table.virtualBase.rawValue) >> 12 }
        }
    }

    // MARK: Lines

    /// The page that a number is an address of, of the running kernel or as linked.
    private func page(_ number: Number) -> Int? {
        guard let value = number.hexadecimal, number.digits == 16 else { return nil }
        for base in [table.virtualBase, linkedBase] {
            let page = (value &- base.rawValue) >> 12
            if page < UInt64(table.pageCount) { return Int(page) }
        }
        return nil
    }

    /// The frames of the image that a number may name: by address, or by number in all of memory.
    private func frames(_ number: Number) -> [Int] {
        guard number.digits > 2 else { return [] }
        let first = table.physicalBase.rawValue
        let values = [
            number.digits > 5 ? number.hexadecimal.map { ($0 &- first) >> 12 } : nil,
            number.hexadecimal.map { $0 &- first >> 12 }, number.decimal.map { $0 &- first >> 12 },
        ]
        return values.compactMap { $0 }.filter { $0 < UInt64(table.pageCount) }.map { Int($0) }
    }

    private func pair(_ pages: [Int], _ frames: [Int], _ revealed: inout Revealed) {
        guard !pages.isEmpty, !frames.isEmpty else { return }
        for page in pages where table.forward[page] != UInt32(page) {
            if frames.contains(Int(table.forward[page])) { revealed.pages.insert(page) }
        }
    }
}

extension RawSpan {
    func byte(at offset: Int) -> UInt8 { unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

    /// A hexadecimal digit's value.
    func digit(at offset: Int) -> UInt8? {
        switch byte(at: offset) {
        case let byte where (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte): byte - UInt8(ascii: "0")
        case let byte where (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20):
            (byte | 0x20) - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    /// Where some bytes begin.
    func offset(of wanted: [UInt8], from start: Int) -> Int? {
        guard !wanted.isEmpty, start + wanted.count <= byteCount else { return nil }
        return unsafe extracting(start..<byteCount).withUnsafeBytes { buffer -> Int? in
            guard let base = buffer.baseAddress, let found = unsafe memmem(base, buffer.count, wanted, wanted.count)
            else { return nil }
            return start + (unsafe base.distance(to: UnsafeRawPointer(found)))
        }
    }
}
