// SPDX-License-Identifier: MIT

// Headers that lead outside the file, overflow or contradict themselves, one
// field at a time, in the smallest image. Each is refused with the byte where
// the header lies, or changes nothing that matters; none may crash. The
// offsets are those of 64-bit little-endian ELF.

import Addressing
import KernelImage
import Testing

/// A number written over a field.
struct Patch: Sendable, CustomTestStringConvertible {
    let what: String
    let offset: Int
    let value: UInt64
    let byteCount: Int

    init(_ what: String, _ offset: Int, _ value: UInt64, _ byteCount: Int = 8) {
        self.what = what
        self.offset = offset
        self.value = value
        self.byteCount = byteCount
    }

    var testDescription: String { what }
    var bytes: [UInt8] { (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

    /// Fields of the ELF header, a program header, and section header `index` (sections begin at 0x178).
    static func header(_ what: String, _ field: Int, _ value: UInt64, _ byteCount: Int = 8) -> Patch {
        Patch(what, field, value, byteCount)
    }
    static func segment(_ what: String, _ index: Int, _ field: Int, _ value: UInt64) -> Patch {
        Patch(what, 64 + 56 * index + field, value)
    }
    static func section(_ what: String, _ index: Int, _ field: Int, _ value: UInt64, _ byteCount: Int = 8) -> Patch {
        Patch(what, 0x178 + 64 * index + field, value, byteCount)
    }
}

struct AbsurdHeaderTests {
    private func open(_ patches: [Patch]) async throws -> KernelImage {
        let file = try ScratchFile(await fixture("tiny"))
        let whole = try file.open()
        try #require(whole.header.sectionHeaderOffset == 0x178, "the fixture has another layout")
        for patch in patches { file.write(patch.bytes, at: patch.offset) }
        return try file.open()
    }

    static let refused: [(Patch, at: UInt64?, String)] = [
        (.segment("p_offset + p_filesz overflows", 0, 8, .max), 64, "lie outside the file"),
        (.segment("p_filesz overflows", 0, 32, .max), 64, "lie outside the file"),
        (.segment("p_filesz beyond the file", 0, 32, 0x1000), 64, "lie outside the file"),
        (.segment("p_offset of notes beyond the file", 1, 8, 1000), 120, "lie outside the file"),
        (.segment("p_filesz > p_memsz", 0, 40, 0x27), 64, "more bytes in the file than in memory"),
        (.segment("p_vaddr + p_memsz overflows", 0, 16, .max - 0x1000), 64, "its addresses overflow"),
        (.segment("p_paddr + p_memsz overflows", 0, 24, .max - 0x1000), 64, "its addresses overflow"),
        (.segment("p_memsz overflows", 0, 40, .max), 64, "its addresses overflow"),
        (.section("sh_offset outside", 1, 24, 0x1_0000), 0x1b8, "section 1: bytes 0x10000+0x10 lie outside"),
        (.section("sh_size overflows", 2, 32, .max), 0x1f8, "section 2: bytes"),
        (.section("sh_offset overflows", 8, 24, .max), 0x378, "section 8: bytes"),
        (.header("e_phnum huge", 56, 0xfffe, 2), 64, "65534 program headers do not fit"),
        (.header("e_shoff outside", 40, .max), .max, "section headers do not fit"),
        (.header("e_shoff near the end", 40, 900), 900, "9 section headers do not fit"),
        (.header("e_shnum huge", 60, 0xfffe, 2), 0x178, "65534 section headers do not fit"),
        (.header("e_phoff outside", 32, .max), 0, "ELF header: invalid data"),
        (.header("e_phoff near the end", 32, 900), 900, "2 program headers do not fit"),
        (.header("no such class", 4, 7, 1), nil, ""),
        (.header("no such byte order", 5, 7, 1), nil, ""),
    ]

    @Test(arguments: refused)
    func isRefused(patch: Patch, offset: UInt64?, message: String) async throws {
        do {
            _ = try await open([patch])
            Issue.record("accepted")
        } catch let error as ImageError {
            #expect(error.kind == .malformed && error.file == "some.elf")
            if let offset { #expect(error.offset == offset) }
            #expect(error.message.contains(message))
        }
    }

    static let damagedSymbols: [([Patch], String)] = [
        ([.section("sh_link outside", 6, 40, 200, 4)], "the symbol table has no string table"),
        ([.section("sh_link to text", 6, 40, 1, 4)], "the symbol table has no string table"),
        ([Patch("string table without an end", 0x136, 0x78, 1)], "the string table has no end"),
        ([Patch("st_name outside", 0x118, 7, 4)], "symbol 1: its name, address or size is damaged"),
        ([.section("string table of no size", 7, 32, 0)], "symbol 0: its name, address or size is damaged"),
        (
            [.section("no whole symbol", 6, 32, 8), .section("no names", 7, 32, 0), .section("at byte 0", 7, 24, 0)],
            "the symbol table"
        ),
    ]

    @Test(arguments: damagedSymbols)
    func damagedSymbolTable(patches: [Patch], message: String) async throws {
        let image = try await open(patches)
        do {
            _ = try image.symbolTable()
            Issue.record("accepted")
        } catch {
            #expect(error.kind == .malformed && error.file == "some.elf" && error.offset != nil)
            #expect(error.message.contains(message))
        }
    }
}
