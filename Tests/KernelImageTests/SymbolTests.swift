// SPDX-License-Identifier: MIT

// Finding symbols by name, with the suffixes that compilers add, and by
// address.

import Addressing
import Testing

@testable import KernelImage

struct SymbolFindTests {
    private func find(_ wanted: Set<String>) async throws -> [String: [UInt64]] {
        let image = try ScratchFile(await fixture("symbols")).open()
        guard let table = try image.symbolTable() else { throw Missing() }
        return table.find(wanted, in: image).mapValues { $0.map(\.value.rawValue) }
    }

    @Test func plainNames() async throws {
        #expect(try await find(["start_kernel", "food"]) == ["start_kernel": [0x1100], "food": [0x1030]])
    }

    @Test func suffixesOfTheCompiler() async throws {
        #expect(try await find(["text_poke"]) == ["text_poke": [0x1040, 0x1050, 0x1060]])
        #expect(try await find(["foo"]) == ["foo": [0x1000, 0x1010, 0x1020]])
    }

    /// In table order, the two static functions of one name too.
    @Test func oneNameTwice() async throws {
        #expect(try await find(["helper"]) == ["helper": [0x1070, 0x1080]])
    }

    @Test func shortNames() async throws {
        #expect(try await find(["fo", "f"]) == ["fo": [0x1090]])
        #expect(try await find(["fo", "foo", "food"]).mapValues(\.count) == ["fo": 1, "foo": 3, "food": 1])
    }

    /// Absent, only the beginning or the end of a name, undefined in this image, nothing.
    @Test(arguments: ["absent", "start_kerne", "start_kernel_", "tart_kernel", "printk_elsewhere", "", "st"])
    func absent(name: String) async throws {
        #expect(try await find([name]) == [:])
    }

    @Test func nothingWanted() async throws { #expect(try await find([]) == [:]) }

    @Test func noSymbolTable() async throws {
        let bytes = try await fixture("tiny")
        let file = try ScratchFile(bytes)
        let original = try file.open()
        file.write(
            try original.encodedHeader(programHeadersAt: 64, count: 2, withoutSections: true), at: 0)
        let image = try file.open()
        let hasTable = try image.symbolTable() != nil
        #expect(!hasTable)
        let hasRelocations = image.hasRelocations
        #expect(!hasRelocations)
    }
}

struct AddressIndexTests {
    private static let symbols = [
        symbol(0, 0x1000, 0x3000, .function),  // covers three pages
        symbol(1, 0x1800, 0x10, .function),
        symbol(2, 0x1800, 0x20, .object),
        symbol(3, 0x1804, 0, .none),  // a label
        symbol(4, 0x3ffc, 8, .none),  // over the end of a page
        symbol(5, 0x5000, 0, .function),
        symbol(6, 0x1000, 0x4000, .section),
        symbol(7, 0x0f00, 0x400, .function),  // begins below the range
        symbol(8, 0x6000, 0x100, .function),  // at the end of the range
        symbol(9, 0x5ff0, 0x100, .function),  // over the end of the range
        symbol(10, 0x1800, 0x100, .file),
    ]

    private static func symbol(_ index: Int, _ value: UInt64, _ size: UInt64, _ kind: Symbol.Kind) -> Symbol {
        Symbol(
            value: VirtualAddress(value), byteCount: UInt32(size), nameOffset: 0, index: UInt32(index), section: 1,
            kind: kind)
    }

    private let index = AddressIndex(symbols, VirtualAddress(0x1000)..<VirtualAddress(0x6000))

    static let covered: [(UInt64, [Int])] = [
        (0x1000, [0]), (0x17ff, [0]), (0x1800, [1, 2, 0]), (0x1804, [1, 2, 0, 3]), (0x1805, [1, 2, 0]),
        (0x180f, [1, 2, 0]), (0x1810, [2, 0]), (0x1820, [0]), (0x3fff, [4, 0]), (0x4000, [4]), (0x4003, [4]),
        (0x4004, []), (0x5000, [5]), (0x5001, []), (0x5ff0, [9]), (0x0fff, []), (0x10_0000, []), (.max, []),
    ]

    /// The smallest first, those without a size last.
    @Test(arguments: covered)
    func covering(address: UInt64, expected: [Int]) {
        #expect(index.covering(VirtualAddress(address)).map { Int($0.index) } == expected, "\(address.hex)")
    }

    static let functions: [(UInt64, Int?)] = [
        (0x1000, 0), (0x1804, 1), (0x1812, 0), (0x3ffe, 4), (0x4001, 4), (0x5000, nil), (0x4800, nil),
    ]

    @Test(arguments: functions)
    func function(address: UInt64, expected: Int?) {
        #expect(index.function(at: VirtualAddress(address)).map { Int($0.index) } == expected, "\(address.hex)")
    }

    @Test func noSymbols() {
        let empty = AddressIndex([], VirtualAddress(0x1000)..<VirtualAddress(0x2000))
        #expect(empty.covering(VirtualAddress(0x1000)) == [])
    }
}
