// SPDX-License-Identifier: MIT

// The table as a value and as bytes: nothing is lost on the way, nothing
// damaged gets in, and the lookup in the bytes gives what the value gives.

import Addressing
import PagePermutation
import SecureRandom
import TestSupport
import Testing

struct TranslationTableTests {
    private func table(_ random: inout TestRandom, pages: Int) throws -> TranslationTable {
        let problem = try PermutationProblem(
            pageCount: pages, classes: [PageClass(name: "all", ranges: [0..<pages])])
        let order = (0..<UInt32(pages)).shuffled(using: &random)
        return TranslationTable(
            try Permutation(forward: order, for: problem),
            virtualBase: VirtualAddress(0xffff_ffff_8000_0000 + UInt64.random(in: 0..<1 << 18, using: &random) << 12),
            physicalBase: PhysicalAddress(UInt64.random(in: 0..<1 << 30, using: &random) << 12),
            isBaked: Bool.random(using: &random))
    }

    private func read(_ bytes: [UInt8]) throws(TableError) -> TranslationTable {
        try unsafe TranslationTable(reading: bytes.span.bytes)
    }

    @Test func bytesAndBack() throws {
        var random = TestRandom()
        for pages in [1, 2, 3, 100, 1000] {
            let table = try table(&random, pages: pages)
            let bytes = table.bytes
            #expect(bytes.count == table.byteCount && bytes.count == 40 + 8 * pages)
            #expect(try read(bytes) == table, TestRandom.comment("\(pages) pages"))
            #expect(try read(bytes + [1, 2, 3]) == table, "what follows a table is not its business")
            #expect(table.formatted(as: .bin) == bytes)
        }
    }

    /// The layout that TableLookup.swift describes, field by field.
    @Test func layout() throws {
        let problem = try PermutationProblem(pageCount: 3, classes: [PageClass(name: "all", ranges: [0..<3])])
        let table = TranslationTable(
            try Permutation(forward: [1, 2, 0], for: problem), virtualBase: VirtualAddress(0xffff_ffff_8100_0000),
            physicalBase: PhysicalAddress(0x100_0000))
        var expected: [UInt8] = Array("KPERMTBL".utf8)
        expected += [1, 0, 1, 0, 3, 0, 0, 0]
        expected += [0, 0, 0, 0x81, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0]
        expected += [3, 0, 0, 0]
        let bytes = table.bytes
        #expect(Array(bytes[..<36]) == expected)
        #expect(Array(bytes[40...]) == [1, 2, 0, 2, 0, 1].flatMap { [$0, 0, 0, 0] as [UInt8] })
    }

    @Test func everyTruncationIsRefused() throws {
        var random = TestRandom()
        let bytes = try table(&random, pages: 20).bytes
        let accepted = bytes.indices.filter { (try? read(Array(bytes.prefix($0)))) != nil }
        #expect(accepted == [], TestRandom.comment())
        #expect(throws: TableError.notATable) { try read(bytes.dropLast()) }
    }

    @Test func everyChangedBitIsRefused() throws {
        var random = TestRandom()
        let bytes = try table(&random, pages: 20).bytes
        let accepted = (0..<8 * bytes.count).filter { bit in
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            return (try? read(damaged)) != nil
        }
        #expect(accepted == [], TestRandom.comment())
    }

    /// With a checksum that fits, what is no bijection is still refused.
    static let forgeries: [(position: Int, flip: UInt8)] = [(0, 1), (40, 1), (43, 0x80), (56, 1), (68, 0xff)]

    @Test(arguments: forgeries)
    func forgedTables(position: Int, flip: UInt8) throws {
        var bytes = TranslationTable(
            Permutation(identity: 4), virtualBase: VirtualAddress(0), physicalBase: PhysicalAddress(0)
        ).bytes
        bytes[position] ^= flip
        let sum = unsafe TableLookup.checksum(bytes.span.bytes)
        for i in 0..<4 { bytes[36 + i] = UInt8(truncatingIfNeeded: sum >> (8 * i)) }
        let error = #expect(throws: TableError.self) { try read(bytes) }
        switch error {
        case .notATable: #expect(position == 0)
        case .notABijection: #expect(position >= 40)
        default: Issue.record("wrong error \(error.map { "\($0)" } ?? "none")")
        }
    }

    @Test func errorsSayWhatIsWrong() {
        #expect(TableError.notATable.description.contains("KPERMTBL"))
        #expect(TableError.checksum(stored: 0xab, computed: 0xcd).description.contains("0xab"))
        #expect(TableError.notABijection(page: 7).description.contains("page 7"))
    }

    /// Value and bytes answer alike, there and back again, inside and outside.
    @Test func lookups() throws {
        var random = TestRandom()
        for _ in 0..<50 {
            let pages = Int.random(in: 1...60, using: &random)
            let table = try table(&random, pages: pages)
            let bytes = table.bytes
            let size = UInt64(pages) << 12
            for _ in 0..<100 {
                let offset = UInt64.random(in: 0..<size, using: &random)
                let address = table.virtualBase + offset
                let physical = try #require(table.physicalAddress(of: address), TestRandom.comment())
                let frame = UInt64(table.frame(of: Page(Int(offset >> 12))).index)
                #expect(physical == table.physicalBase + (frame << 12 | offset & 0xfff), TestRandom.comment())
                #expect(table.virtualAddress(of: physical) == address, TestRandom.comment())
                let there = unsafe TableLookup.physicalAddress(of: address.rawValue, in: bytes.span.bytes)
                let back = unsafe TableLookup.virtualAddress(of: physical.rawValue, in: bytes.span.bytes)
                #expect(there == physical.rawValue && back == address.rawValue, TestRandom.comment())
            }
            let outside = [size, size + 4096, 0 &- 1, 0 &- 4096, UInt64.random(in: size..<1 << 63, using: &random)]
            for offset in outside {
                #expect(table.physicalAddress(of: table.virtualBase + offset) == nil, TestRandom.comment())
                #expect(table.virtualAddress(of: table.physicalBase + offset) == nil, TestRandom.comment())
                let there = unsafe TableLookup.physicalAddress(
                    of: table.virtualBase.rawValue &+ offset, in: bytes.span.bytes)
                let back = unsafe TableLookup.virtualAddress(
                    of: table.physicalBase.rawValue &+ offset, in: bytes.span.bytes)
                #expect(there == nil && back == nil, TestRandom.comment())
            }
        }
    }

    /// RFC 3720, appendix B.4, and the check value every catalogue of CRCs gives. All end before
    /// the field that a table's checksum leaves out.
    static let checksums: [(bytes: [UInt8], sum: UInt32)] = [
        (Array("123456789".utf8), 0xe306_9283),
        ([UInt8](repeating: 0, count: 32), 0x8a91_36aa),
        ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
        ([UInt8](0..<32), 0x46dd_794e),
        ([UInt8](0..<32).reversed(), 0x113f_db5c),
    ]

    @Test(arguments: checksums)
    func crc32c(bytes: [UInt8], expected: UInt32) {
        let sum = unsafe TableLookup.checksum(bytes.span.bytes)
        #expect(sum == expected)
    }

    /// The checksum of a table is that of its bytes with the field zero, stored little-endian.
    @Test func checksumLeavesItsFieldOut() throws {
        var random = TestRandom()
        let bytes = try table(&random, pages: 9).bytes
        var zeroed = bytes
        for i in 36..<40 { zeroed[i] = 0 }
        var stored: UInt32 = 0
        for i in (36..<40).reversed() { stored = stored << 8 | UInt32(bytes[i]) }
        let sum = unsafe TableLookup.checksum(bytes.span.bytes)
        #expect(sum == stored && stored == independentCRC(zeroed), TestRandom.comment())
    }

    /// CRC-32C the other way round: most significant bit first, over reflected bytes.
    private func independentCRC(_ bytes: [UInt8]) -> UInt32 {
        var crc = UInt32.max
        for byte in bytes {
            for bit in 0..<8 {
                let top = crc >> 31 ^ UInt32(byte >> UInt8(bit) & 1)
                crc = crc << 1 ^ (top == 1 ? 0x1edc_6f41 : 0)
            }
        }
        var reflected: UInt32 = 0
        for bit in 0..<32 { reflected |= (~crc >> UInt32(bit) & 1) << UInt32(31 - bit) }
        return reflected
    }
}
