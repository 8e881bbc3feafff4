// SPDX-License-Identifier: MIT

// A table must be found in every form that a kernel or a file can have it in, and
// nothing where there is none: in other tables, plain counting, the linear
// addresses that a stock kernel has.

import Addressing
import PagePermutation
import TestSupport
import Testing

@testable import GuestCheck

struct TableSearchTests {
    private static let pageCount = 300
    private static let virtualBase: UInt64 = 0xffff_ffff_9a00_0000
    private static let physicalBase: UInt64 = 0x1240_0000
    private static let linkedBase: UInt64 = 0xffff_ffff_8100_0000

    private static func table(_ random: inout TestRandom, granule: Int = 1, pins: Range<Int> = 0..<8) throws
        -> TranslationTable
    {
        let granules = Array(pins.upperBound / granule..<pageCount / granule)
        var forward = (0..<UInt32(pageCount)).map { $0 }
        for (from, to) in zip(granules, granules.shuffled(using: &random)) {
            for page in 0..<granule { forward[from * granule + page] = UInt32(to * granule + page) }
        }
        return try SyntheticOrder.table(forward, virtualBase: virtualBase, physicalBase: physicalBase)
    }

    private static func search(_ table: TranslationTable, seeds: [[UInt8]] = []) -> TableSearch {
        TableSearch(table, linkedBase: VirtualAddress(linkedBase), seeds: seeds)
    }

    private static func words(_ values: [UInt64], bytes: Int = 8) -> [UInt8] {
        values.flatMap { value in (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    }

    private static func junk(_ count: Int, _ random: inout TestRandom) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    /// Every form, as bytes.
    enum Form: String, CaseIterable {
        case binaryTable, forward32, inverse32, forward64, inverse64, physicalAddresses, pageTable, framesOfAll
        case virtualAddresses, differences, differencesBack
        case json, hexadecimalColumn, pagesAndFrames, physicalText, pageFrameNumbers, memoryMap

        func bytes(_ table: TranslationTable) -> [UInt8] {
            let forward = table.forward.map(UInt64.init)
            let inverse = table.inverse.map(UInt64.init)
            let (virtual, physical) = (table.virtualBase.rawValue, table.physicalBase.rawValue)
            let addresses = forward.map { physical + $0 << 12 }
            func lines(_ text: (Int) -> String) -> [UInt8] {
                Array(table.forward.indices.map(text).joined(separator: "\n").utf8)
            }
            func hexadecimal(_ value: UInt64) -> String { String(value, radix: 16) }
            return switch self {
            case .binaryTable: table.bytes
            case .forward32: words(forward, bytes: 4)
            case .inverse32: words(inverse, bytes: 4)
            case .forward64: words(forward)
            case .inverse64: words(inverse)
            case .physicalAddresses: words(addresses)
            case .pageTable: words(addresses.map { $0 | 0x8000_0000_0000_0161 })
            case .framesOfAll: words(forward.map { physical >> 12 + $0 | 0xa180 << 48 })
            case .virtualAddresses: words(inverse.map { virtual + $0 << 12 })
            case .differences:
                words(
                    forward.indices.map {
                        OffsetLookup.entry(page: UInt64($0), frame: forward[$0], base: virtual, target: physical)
                    })
            case .differencesBack:
                words(
                    inverse.indices.map {
                        OffsetLookup.entry(page: UInt64($0), frame: inverse[$0], base: physical, target: virtual)
                    })
            case .json: Array(#"{"forward": [\#(forward.map(String.init).joined(separator: ", "))]}"#.utf8)
            case .hexadecimalColumn: lines { hexadecimal(forward[$0]) }
            case .pagesAndFrames: lines { "page \($0) -> frame \(forward[$0])" }
            case .physicalText: lines { "0x\(hexadecimal(addresses[$0])) rw" }
            case .pageFrameNumbers: lines { "pfn: \(addresses[$0] >> 12)" }
            case .memoryMap: lines { "\(hexadecimal(virtual + UInt64($0) << 12)) is at \(hexadecimal(addresses[$0]))" }
            }
        }

        private func words(_ values: [UInt64], bytes: Int = 8) -> [UInt8] {
            TableSearchTests.words(values, bytes: bytes)
        }
    }

    @Test(arguments: Form.allCases) func isFound(_ form: Form) throws {
        var random = TestRandom()
        let table = try Self.table(&random)
        var bytes = form.bytes(table)
        let isText = [.json, .hexadecimalColumn, .pagesAndFrames, .physicalText, .pageFrameNumbers, .memoryMap]
            .contains(form)
        if !isText { bytes = Self.junk(5, &random) + bytes + Self.junk(9, &random) }
        let revealed = Self.search(table).look(at: bytes[...])
        let moved = table.forward.indices.filter { table.forward[$0] != UInt32($0) }
        #expect(revealed.pages.isSubset(of: moved), TestRandom.comment())
        // Neighbours that stayed neighbours prove nothing, and end a row.
        #expect(revealed.pages.count > moved.count * 8 / 10, TestRandom.comment("\(revealed.pages.count)"))
        #expect(!revealed.seed)
        // Two orders agree at one page on average (Poisson): at four once in fifty, at sixteen never.
        let other = try Self.table(&random)
        #expect(Self.search(other).look(at: bytes[...]).pages.count < 16, TestRandom.comment("another's"))
    }

    @Test func oneNamedPage() throws {
        var random = TestRandom()
        let table = try Self.table(&random)
        let page = try #require((8..<Self.pageCount).first { table.forward[$0] != UInt32($0) })
        let frame = Self.physicalBase + UInt64(table.forward[page]) << 12
        for base in [Self.virtualBase, Self.linkedBase] {
            let address = String(base + UInt64(page) << 12 + 0x123, radix: 16)
            for place in [String(frame + 0x123, radix: 16), "0x" + String(frame >> 12, radix: 16), "\(frame >> 12)"] {
                let text = "nothing here\n[    1.5] swapper: virt=\(address), phys=\(place);\nnor here\n"
                #expect(Self.search(table).look(at: Array(text.utf8)[...]).pages == [page])
            }
            let linear = String(Self.physicalBase + UInt64(page) << 12, radix: 16)
            #expect(Self.search(table).look(at: Array("\(address) \(linear)\n".utf8)[...]).pages.isEmpty)
        }
    }

    @Test func nothingWhereNothingIs() throws {
        var random = TestRandom()
        let table = try Self.table(&random)
        let count = UInt64(Self.pageCount)
        let symbols = (0..<2000).map { index in
            let address = Self.virtualBase + UInt64(index) * 577
            return "\(String(address, radix: 16)) t __key.\(index)\n"
        }
        let silent: [[UInt8]] = [
            Self.junk(1 << 16, &random), [UInt8](repeating: 0, count: 1 << 14), Self.words((0..<count).map { $0 }),
            Self.words((0..<count).map { Self.physicalBase + $0 << 12 }), Self.words((0..<count).map { $0 }, bytes: 4),
            Array((0..<count).map { "\($0) \($0 + 1)\n" }.joined().utf8), Array(symbols.joined().utf8), [], [1, 2, 3],
        ]
        for bytes in silent { #expect(Self.search(table).look(at: bytes[...]) == Revealed(), TestRandom.comment()) }
    }

    @Test(arguments: [4, 16]) func pagesThatMoveTogether(granule: Int) throws {
        var random = TestRandom()
        let table = try Self.table(&random, granule: granule, pins: 0..<16)
        let bytes = table.bytes
        #expect(!Self.search(table).look(at: bytes[...]).pages.isEmpty, TestRandom.comment())
        let counting = Self.words((0..<UInt64(Self.pageCount)).map { $0 }, bytes: 4)
        #expect(Self.search(table).look(at: counting[...]).pages.isEmpty, TestRandom.comment())
    }

    @Test func seeds() throws {
        var random = TestRandom()
        let table = try Self.table(&random)
        let seed = Self.junk(32, &random)
        let search = Self.search(table, seeds: [seed])
        #expect(search.look(at: (Self.junk(7, &random) + seed + [1])[...]).seed)
        #expect(search.look(at: Array("seed \(hexadecimalDigits(seed))\n".utf8)[...]).seed)
        #expect(!search.look(at: (Self.junk(7, &random) + seed.dropLast())[...]).seed, TestRandom.comment())
        let line = "quiet kperm.seed=\(String(repeating: "aB", count: 32)) root=/dev/vda\n"
        #expect(Self.search(table).look(at: Array(line.utf8)[...]).seed)
        #expect(!Self.search(table).look(at: Array("kperm.seed=12 kperm.seed=".utf8)[...]).seed)
    }

    @Test func whereTheImageBegins() throws {
        var random = TestRandom()
        let search = Self.search(try Self.table(&random))
        #expect(search.look(at: Array("  12400000-131fffff : Kernel code\n".utf8)[...]).base)
        #expect(search.look(at: Array("NUMBER(phys_base)=1\n".utf8)[...]).base)
        #expect(search.look(at: ([0, 1, 0x80] + Array("NUMBER(phys_base)=1\n".utf8) + [0])[...]).base)
        #expect(!search.look(at: Array("  00000000-00000000 : Kernel code\n".utf8)[...]).base)
    }

    /// What /proc/self/pagemap says is one page at a time.
    @Test func ownPages() throws {
        var random = TestRandom()
        let table = try Self.table(&random)
        let page = try #require((8..<Self.pageCount).first { table.forward[$0] != UInt32($0) })
        let present: UInt64 = 1 << 63
        let frames = [0, 3, UInt64(table.forward[page])].map { present | Self.physicalBase >> 12 + $0 }
        let pagemap = Self.words([0, 1 << 62] + frames + [present | 0x7777])
        #expect(Self.search(table).frames(in: pagemap[...]).pages == [page])
        #expect(Self.search(table).frames(in: Self.words([0, present, present])[...]).pages.isEmpty)
    }
}
