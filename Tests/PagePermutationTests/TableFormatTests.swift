// SPDX-License-Identifier: MIT

// The forms for other programs, read by other programs: a JSON decoder, a C
// compiler and the assembler.

import Addressing
import FoundationEssentials
import Glibc
import PagePermutation
import Testing

struct TableFormatTests {
    private static let pages = 29

    /// Each page seven frames further: inverse and forward differ, and C can say it in a line.
    private func table() throws -> TranslationTable {
        let problem = try PermutationProblem(
            pageCount: Self.pages, classes: [PageClass(name: "all", ranges: [0..<Self.pages])])
        let forward = (0..<Self.pages).map { UInt32(($0 + 7) % Self.pages) }
        return TranslationTable(
            try Permutation(forward: forward, for: problem), virtualBase: VirtualAddress(0xffff_ffff_8100_0000),
            physicalBase: PhysicalAddress(0x1_2345_6000), isBaked: false)
    }

    /// Runs a shell command in a directory of its own that holds these files.
    private func run(_ command: String, with files: [String: [UInt8]]) throws -> CInt {
        let directory = FileManager.default.temporaryDirectory.appending(path: "kperm-test-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        for (name, bytes) in files { try Data(bytes).write(to: directory.appending(path: name)) }
        return unsafe system("cd '\(directory.path)' && { \(command); }")
    }

    @Test func json() throws {
        struct Form: Decodable {
            let baked: Bool
            let forward, inverse: [UInt32]
            let moved, pages: Int
            let physicalBase, virtualBase: String
        }
        let table = try table()
        let form = try JSONDecoder().decode(Form.self, from: Data(table.formatted(as: .json)))
        #expect(form.baked == false)
        #expect(form.forward == table.forward && form.inverse == table.inverse)
        #expect(form.moved == table.movedCount && form.pages == Self.pages)
        #expect(form.physicalBase == "0x123456000" && form.virtualBase == "0xffffffff81000000")
    }

    @Test(arguments: [TableFormat.json, .c, .asm])
    func textIsReadBack(format: TableFormat) throws {
        let table = try table()
        let text = table.formatted(as: format)
        let isText = unsafe TranslationTable.isText(text.span.bytes)
        #expect(isText)
        let again = unsafe try TranslationTable(readingText: text.span.bytes)
        #expect(again.forward == table.forward && again.inverse == table.inverse)
        #expect(again.virtualBase == table.virtualBase && again.physicalBase == table.physicalBase)
        #expect(again.isBaked == (format != .json))
        // Without any part that counts, or with another number somewhere, it is none.
        let whole = String(decoding: text, as: UTF8.self)
        for (part, other) in [("28", "27"), ("28", "29"), ("28", "-"), ("0x123456000", "no"), ("29", "30")] {
            let damaged = Array(whole.replacing(part, with: other, maxReplacements: part == "28" ? 1 : .max).utf8)
            #expect(throws: TableError.self) { unsafe try TranslationTable(readingText: damaged.span.bytes) }
        }
        for count in stride(from: 0, to: text.count - 200, by: 3) {
            let part = Array(text.prefix(count))
            #expect(throws: TableError.self) { unsafe try TranslationTable(readingText: part.span.bytes) }
        }
    }

    @Test func cHeader() throws {
        let program = """
            #include "table.h"
            #include "table.h"
            int main(void) {
                if (KPERM_PAGES != 29 || sizeof kperm_frame_of_page != 4 * 29) return 2;
                if (KPERM_VIRTUAL_BASE != 0xffffffff81000000 || KPERM_PHYSICAL_BASE != 0x123456000) return 3;
                for (unsigned i = 0; i < KPERM_PAGES; i++) {
                    if (kperm_frame_of_page[i] != (i + 7) % 29) return 4;
                    if (kperm_page_in_frame[(i + 7) % 29] != i) return 5;
                }
                return 0;
            }

            """
        let status = try run(
            "cc -std=c99 -Wall -Wextra -Werror -pedantic main.c -o main && ./main",
            with: ["table.h": table().formatted(as: .c), "main.c": Array(program.utf8)])
        #expect(status == 0)
    }

    @Test func assembler() throws {
        let program = """
            extern const unsigned long kperm_pages, kperm_virtual_base, kperm_physical_base;
            extern const unsigned int kperm_frame_of_page[], kperm_page_in_frame[];
            int main(void) {
                if (kperm_pages != 29) return 2;
                if (kperm_virtual_base != 0xffffffff81000000 || kperm_physical_base != 0x123456000) return 3;
                for (unsigned i = 0; i < kperm_pages; i++) {
                    if (kperm_frame_of_page[i] != (i + 7) % 29) return 4;
                    if (kperm_page_in_frame[(i + 7) % 29] != i) return 5;
                }
                return 0;
            }

            """
        let status = try run(
            "cc -c -Wa,--fatal-warnings table.s && cc main.c table.o -o main -Wl,--fatal-warnings && ./main",
            with: ["table.s": table().formatted(as: .asm), "main.c": Array(program.utf8)])
        #expect(status == 0)
    }
}
