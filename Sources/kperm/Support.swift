// SPDX-License-Identifier: MIT

// What subcommands share: failing with one line and a status, opening images,
// reading page specifications, printing JSON.

import Addressing
import ArgumentParser
import FoundationEssentials
import Glibc
import KernelImage
import KernelRewrite
import PagePermutation

/// One line for stderr, and the exit status: 1 a check failed, 2 bad usage or input.
struct CommandFailure: Error {
    let status: CInt
    let message: String

    static func input(_ message: String) -> CommandFailure { CommandFailure(status: 2, message: message) }
    static func check(_ message: String) -> CommandFailure { CommandFailure(status: 1, message: message) }
}

func printError(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = unsafe write(STDERR_FILENO, bytes, bytes.count)
}

/// Progress, for people only: printed when stderr is a terminal.
func progress(_ line: String) {
    if isatty(STDERR_FILENO) == 1 { printError(line) }
}

/// Runs work of the libraries; what they refuse becomes one line and status 2.
func attempt<T: ~Copyable>(_ work: () throws(RewriteError) -> T) throws -> T {
    do {
        return try work()
    } catch {
        throw CommandFailure.input("\(error)")
    }
}

func openImage(_ path: String) throws -> KernelImage {
    do {
        return try KernelImage.open(path)
    } catch {
        if let file = try? MappedFile.open(path), let codec = Codec(detecting: file.bytes) {
            throw CommandFailure.input("\(path): compressed with \(codec.rawValue): unpack it first")
        }
        throw CommandFailure.input("\(error)")
    }
}

/// Whether a file is a vmlinuz (bzImage).
func isCompressed(_ path: String) throws -> Bool {
    do {
        let file = try MappedFile.open(path)
        return BzImage.isBzImage(file.bytes)
    } catch {
        throw CommandFailure.input("\(error)")
    }
}

/// The translation table, if a file is one in a form that `kperm table` writes.
func tableFile(_ path: String) throws -> TranslationTable? {
    do {
        let file = try MappedFile.open(path)
        if TranslationTable.isText(file.bytes) { return try TranslationTable(readingText: file.bytes) }
        guard file.byteCount >= 8, file.bytes.load(0, as: UInt64.self) == TableLookup.magic else { return nil }
        return try TranslationTable(reading: file.bytes)
    } catch let error as TableError {
        throw CommandFailure.input("\(path): \(error)")
    } catch {
        throw CommandFailure.input("\(error)")
    }
}

func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

extension Double {
    /// With one decimal, as percentages are printed.
    var oneDecimal: String {
        let tenths = Int((self * 10).rounded(.down))
        return "\(tenths / 10).\(tenths % 10)"
    }
}

/// The name of a file without its directories.
func lastComponent(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }

/// Numbers as people write them: hexadecimal with 0x, else decimal.
func parseNumber(_ text: some StringProtocol) -> UInt64? {
    text.hasPrefix("0x") || text.hasPrefix("0X") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
}

/// Addresses by number or by symbol.
struct Addresses {
    private let table: SymbolTable?

    init(_ image: borrowing KernelImage) throws {
        do {
            table = try image.symbols()
        } catch {
            throw CommandFailure.input("\(error)")
        }
    }

    /// The bytes that "0xADDR", "SYMBOL" or "SYMBOL+OFFSET" names; one byte for an address.
    func range(_ text: String, in image: borrowing KernelImage) throws -> Range<VirtualAddress> {
        if let number = parseNumber(text) {
            let address = VirtualAddress(number)
            guard number < .max else { throw CommandFailure.input("\(text): no such address") }
            return address..<address + 1
        }
        let parts = text.split(separator: "+", maxSplits: 1)
        let name = String(parts.first ?? "")
        guard !name.isEmpty else { throw CommandFailure.input("'\(text)' names no symbol") }
        guard let table else { throw CommandFailure.input("\(image.path): no symbols; give an address for \(text)") }
        let found = table.find([name], in: image)[name] ?? []
        let exact = found.filter { table.name(of: $0, in: image) == name }
        guard let symbol = exact.first else { throw CommandFailure.input("\(image.path): no symbol \(name)") }
        guard exact.allSatisfy({ $0.value == symbol.value }) else {
            let places = Set(exact.map(\.value)).sorted().map(\.description).joined(separator: ", ")
            throw CommandFailure.input("\(image.path): several symbols \(name), at \(places): give an address")
        }
        guard parts.count == 2 else { return symbol.value..<symbol.value + max(symbol.size, 1) }
        guard let offset = parseNumber(parts[1]) else {
            throw CommandFailure.input("\(text): \(parts[1]) is not a number of bytes")
        }
        let (place, overflow) = symbol.value.rawValue.addingReportingOverflow(offset)
        guard !overflow, place < .max else { throw CommandFailure.input("\(text): no such address") }
        return VirtualAddress(place)..<VirtualAddress(place + 1)
    }

    /// The pages that a specification names: "SYMBOL", "SYMBOL+OFFSET", "0xADDR", "FROM..TO" (TO excluded) of any of
    /// these, or "page:N", "page:N-M".
    func pages(_ text: String, in image: borrowing KernelImage, _ map: PageMap) throws -> Range<Int> {
        if text.hasPrefix("page:") {
            let numbers = text.dropFirst(5).split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard numbers.count <= 2, let first = numbers.first ?? nil, let last = numbers.last ?? nil, first >= 0,
                first <= last, last < map.pageCount
            else { throw CommandFailure.input("\(text): no such pages; the image has \(map.pageCount)") }
            return first..<last + 1
        }
        var bytes: Range<VirtualAddress>
        let ends = text.split(separator: "..", omittingEmptySubsequences: false).map(String.init)
        if ends.count == 2, !ends.contains("") {
            let from = try range(ends[0], in: image).lowerBound
            let to = try range(ends[1], in: image).lowerBound
            guard from < to else { throw CommandFailure.input("\(text): begins behind its end") }
            bytes = from..<to
        } else {
            bytes = try range(text, in: image)
        }
        guard map.page(of: bytes.lowerBound) != nil, bytes.upperBound <= map.virtualRange.upperBound else {
            throw CommandFailure.input(
                "\(text): outside the image, which is \(map.virtualRange.lowerBound) … \(map.virtualRange.upperBound)")
        }
        return map.pages(of: bytes)
    }
}

extension Request {
    /// Adds what --pin and --glue name.
    mutating func demand(
        pins: [String], glue: [String], by addresses: Addresses, in image: borrowing KernelImage, _ map: PageMap
    ) throws {
        for text in pins {
            let pages = try addresses.pages(text, in: image, map)
            self.pins.append(Pin(pages: pages, reason: "asked for", evidence: "--pin \(text)"))
        }
        for text in glue {
            self.glue.append(Glue(pages: try addresses.pages(text, in: image, map), reason: "--glue \(text)"))
        }
    }
}

/// All of a file, which may be a pipe; `-` is standard input.
func readAll(_ path: String, atMost limit: Int = 1 << 30) throws -> [UInt8] {
    let name = path == "-" ? "standard input" : path
    let descriptor = path == "-" ? dup(STDIN_FILENO) : unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        throw CommandFailure.input("\(name): cannot open: \(unsafe String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    var text: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe block.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else {
            throw CommandFailure.input("\(name): cannot read: \(unsafe String(cString: strerror(errno)))")
        }
        if count == 0 { return text }
        text += block[..<count]
        guard text.count <= limit else {
            throw CommandFailure.input("\(name): longer than \(limit >> 20) MB: give a shorter one")
        }
    }
}
