// SPDX-License-Identifier: MIT

// Transfers as people write them, one a line:
//
//     0xADDRESS|SYMBOL[+OFFSET]  LENGTH  to|from|both      # a comment
//
// Addresses, offsets and lengths are decimal, or hexadecimal with 0x. A line that
// is wrong is remembered with what is wrong in it; the others count.

public import Addressing

/// The lines of a transfer list.
public struct TransferList: Sendable {
    /// What is wrong in a line.
    public struct Problem: Equatable, Sendable {
        public let line: Int
        public let what: String
    }

    /// A transfer, and where it stands.
    public struct Entry: Equatable, Sendable {
        public let line: Int
        /// Its place as it was written.
        public let text: String
        public let transfer: Transfer
    }

    private struct Line {
        let number: Int
        let text: String
        /// Without one the offset is an address.
        let symbol: String?
        let offset: UInt64
        let byteCount: UInt64
        let direction: Transfer.Direction
    }

    private var lines: [Line] = []
    private var malformed: [Problem] = []
    /// The names that the lines speak of.
    public private(set) var symbols: Set<String> = []

    public init(parsing bytes: [UInt8]) {
        let newline = UInt8(ascii: "\n")
        for (i, line) in bytes.split(separator: newline, omittingEmptySubsequences: false).enumerated() {
            let words = line.prefix { $0 != UInt8(ascii: "#") }
                .split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
            if words.isEmpty { continue }
            do {
                let line = try Self.line(i + 1, words)
                if let symbol = line.symbol { symbols.insert(symbol) }
                lines.append(line)
            } catch {
                malformed.append(Problem(line: i + 1, what: error.what))
            }
        }
    }

    /// The transfers, and what is wrong in the other lines, both in the order of the list.
    ///
    /// - Parameter places: where the symbols lie; one with several addresses is refused.
    public func resolved(_ places: [String: Set<VirtualAddress>]) -> (entries: [Entry], problems: [Problem]) {
        var entries: [Entry] = []
        var problems = malformed
        for line in lines {
            do {
                let transfer = try Self.transfer(line, places)
                entries.append(Entry(line: line.number, text: line.text, transfer: transfer))
            } catch {
                problems.append(Problem(line: line.number, what: error.what))
            }
        }
        return (entries, problems.sorted { $0.line < $1.line })
    }

    /// A transfer as a line of a list.
    public static func line(_ transfer: Transfer, comment: String) -> String {
        "\(transfer.address)  \(transfer.byteCount)  \(transfer.direction.rawValue)  # \(comment)\n"
    }

    private struct Malformed: Error {
        let what: String
    }

    private static func line(_ number: Int, _ words: [ArraySlice<UInt8>]) throws(Malformed) -> Line {
        guard words.count == 3 else {
            throw Malformed(
                what: "not 3 words but \(words.count): 0xADDRESS or SYMBOL+OFFSET, LENGTH, and to, from or both")
        }
        guard let direction = Transfer.Direction(rawValue: text(words[2])) else {
            throw Malformed(what: "\(text(words[2])) is no direction: to, from or both")
        }
        let byteCount = try self.number(words[1], "a length in bytes")
        guard byteCount > 0 else { throw Malformed(what: "a length of 0 bytes transfers nothing") }

        let place = words[0]
        var symbol: String?
        var offset: UInt64 = 0
        if let first = place.first, first >= UInt8(ascii: "0"), first <= UInt8(ascii: "9") {
            offset = try self.number(place, "an address")
        } else {
            let name = place.prefix { $0 != UInt8(ascii: "+") }
            guard !name.isEmpty else { throw Malformed(what: "\(text(place)) names no symbol") }
            symbol = text(name)
            if name.count < place.count {
                offset = try self.number(place.dropFirst(name.count + 1), "a number of bytes")
            }
        }
        return Line(
            number: number, text: text(place), symbol: symbol, offset: offset, byteCount: byteCount,
            direction: direction)
    }

    private static func transfer(
        _ line: Line, _ places: [String: Set<VirtualAddress>]
    ) throws(Malformed) -> Transfer {
        var address = line.offset
        if let symbol = line.symbol {
            let found = places[symbol] ?? []
            guard let place = found.first else { throw Malformed(what: "no symbol \(symbol)") }
            guard found.count == 1 else {
                let all = found.sorted().map(\.description).joined(separator: ", ")
                throw Malformed(what: "several symbols \(symbol), at \(all): give an address")
            }
            let (sum, overflow) = place.rawValue.addingReportingOverflow(line.offset)
            guard !overflow else { throw Malformed(what: "\(line.text) lies past the end of the address space") }
            address = sum
        }
        let transfer = Transfer(
            address: VirtualAddress(address), byteCount: line.byteCount, direction: line.direction)
        guard let transfer else {
            throw Malformed(
                what: "\(line.byteCount) bytes from \(address.hex) on reach past the end of the address space")
        }
        return transfer
    }

    private static func number(_ word: ArraySlice<UInt8>, _ meaning: String) throws(Malformed) -> UInt64 {
        let isHexadecimal = word.starts(with: "0x".utf8) || word.starts(with: "0X".utf8)
        let digits = isHexadecimal ? word.dropFirst(2) : word
        let base: UInt64 = isHexadecimal ? 16 : 10
        var value: UInt64 = 0
        for byte in digits {
            guard let digit = Self.digit(byte), digit < base else {
                throw Malformed(what: "\(text(word)) is not \(meaning)")
            }
            let (product, tooLarge) = value.multipliedReportingOverflow(by: base)
            let (sum, overflow) = product.addingReportingOverflow(digit)
            guard !tooLarge, !overflow else { throw Malformed(what: "\(text(word)) does not fit into 64 bits") }
            value = sum
        }
        guard !digits.isEmpty else { throw Malformed(what: "'\(text(word))' is not \(meaning)") }
        return value
    }

    private static func digit(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    /// A word as it can be shown: no control characters, and not longer than names of symbols are.
    private static func text(_ word: ArraySlice<UInt8>) -> String {
        let shown = word.prefix(maximumName).map { $0 < 0x20 || $0 == 0x7f ? UInt8(ascii: "?") : $0 }
        return String(decoding: shown, as: UTF8.self) + (word.count > maximumName ? "…" : "")
    }

    /// The kernel's KSYM_NAME_LEN.
    private static let maximumName = 512
}
