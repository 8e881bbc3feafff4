// SPDX-License-Identifier: MIT

// Every way to look an address up against the table that it was made from: on
// every page, both ways, and outside the image, where all are linear.

import Addressing
import PagePermutation
import SecureRandom
import TestSupport
import Testing

@testable import TranslationSimulator

/// A random order of granules; what remains behind the last whole one stays, and so do some granules.
private func randomTable(pages: Int, granule: Int, staying: Double, _ random: inout TestRandom) throws
    -> TranslationTable
{
    var slots = (0..<pages / granule).filter { _ in Double.random(in: 0..<1, using: &random) >= staying }
    let sources = slots
    slots.shuffle(using: &random)
    var order = (0..<UInt32(pages)).map { $0 }
    for (from, to) in zip(sources, slots) {
        for i in 0..<granule { order[from * granule + i] = UInt32(to * granule + i) }
    }
    let virtual = UInt64.random(in: 0xffff_8000_0000_0000 >> 12...0xffff_ffff_c000_0000 >> 12, using: &random) << 12
    let physical = UInt64.random(in: 0..<1 << 38, using: &random) << 12
    return try makeTable(order, at: VirtualAddress(virtual), PhysicalAddress(physical))
}

/// Distances from a base that lead outside an image of so many bytes.
private func outside(_ size: UInt64, _ random: inout TestRandom) -> [UInt64] {
    let near: [UInt64] = [size, size + 1, size + 4095, size + 4096, 0 &- 1, 0 &- 4096, 1 << 63]
    // Distances at which the lower bits that page tables look at are those of an address inside.
    let aliases = [39, 48, 57].map { (1 as UInt64) << $0 + UInt64.random(in: 0..<size, using: &random) }
    return near + aliases + (0..<50).map { _ in UInt64.random(in: size ... .max, using: &random) }
}

/// Nil, or what is wrong first. `every` pages apart, from a random one on.
private func firstWrong<Strategy: LookupStrategy & ~Copyable>(
    _ strategy: borrowing Strategy, _ table: TranslationTable, every step: Int = 1, _ random: inout TestRandom
) -> String? {
    for page in stride(from: Int.random(in: 0..<step, using: &random) % table.pageCount, to: table.pageCount, by: step)
    {
        let offset = UInt64(page) << 12 + UInt64.random(in: 0..<4096, using: &random)
        let virtual = table.virtualBase + offset
        let physical = strategy.physicalAddress(of: virtual)
        guard physical == table.physicalAddress(of: virtual) else {
            return "\(strategy.name): page \(page) of \(table.pageCount): \(virtual) gives \(physical)"
        }
        guard strategy.virtualAddress(of: physical) == virtual else {
            return "\(strategy.name): frame of page \(page) of \(table.pageCount): \(physical) does not lead back"
        }
    }
    return firstNotLinear(strategy, table, &random)
}

private func firstNotLinear<Strategy: LookupStrategy & ~Copyable>(
    _ strategy: borrowing Strategy, _ table: TranslationTable, _ random: inout TestRandom
) -> String? {
    for offset in outside(UInt64(table.pageCount) << 12, &random) {
        guard strategy.physicalAddress(of: table.virtualBase + offset) == table.physicalBase + offset,
            strategy.virtualAddress(of: table.physicalBase + offset) == table.virtualBase + offset
        else { return "\(strategy.name): outside, \(offset.hex) from \(table.virtualBase)" }
    }
    return nil
}

struct LookupTests {
    @Test(arguments: [
        1, 2, 3, 5, 7, 8, 9, 31, 63, 64, 65, 511, 512, 513, 1000, 2047, 4096, 10_288, 65_535, 65_536, 65_537,
    ])
    func equalTheTable(pages: Int) throws {
        var random = TestRandom()
        let orders = [(1, 0.02), (512, 0), (1, 0.9), (4, 0.1), (16, 0.1), (pages, 0)]
        for (granule, staying) in orders.prefix(pages > 20_000 ? 2 : orders.count) {
            let table = try randomTable(pages: pages, granule: granule, staying: staying, &random)
            var wrong = [
                firstWrong(try FlatTable<UInt32>(table), table, &random),
                firstWrong(FlatOffsets(table), table, &random),
                firstWrong(TwoLevelTable(table), table, &random),
                firstWrong(SortedRuns(table), table, &random),
                firstWrong(EytzingerRuns(table), table, &random),
                firstWrong(HashedPages(table), table, &random),
                firstWrong(try PageTableWalk<3>(table), table, &random),
                firstWrong(try PageTableWalk<4>(table), table, &random),
                firstWrong(try PageTableWalk<5>(table), table, &random),
            ]
            if pages <= 65_536 { wrong.append(firstWrong(try FlatTable<UInt16>(table), table, &random)) }
            let scan = RangeScan(table)
            // A scan of many ranges takes its time; in the smaller tables every page is looked at.
            let step = max(1, pages * scan.rangeCount / 1_000_000)
            wrong.append(firstWrong(scan, table, every: step, &random))
            for what in wrong { #expect(what == nil, TestRandom.comment()) }
        }
    }

    @Test(arguments: [1, 2, 3, 513, 10_288]) func linearIsTheIdentity(pages: Int) throws {
        var random = TestRandom()
        let table = try randomTable(pages: pages, granule: pages, staying: 0, &random)
        let wrong = firstWrong(LinearOffset(table), table, &random)
        #expect(wrong == nil, TestRandom.comment())
    }

    /// What `__phys_addr_nodebug` gives for both mappings, and `__va`.
    @Test func stockKernelTranslatesBothMappings() throws {
        let table = try makeTable([2, 1, 0])
        let stock = StockTranslation(table)
        for (virtual, physical) in [
            (0xffff_ffff_8100_0000, 0x100_0000), (0xffff_ffff_8100_2fff, 0x100_2fff), (0xffff_ffff_8000_0000, 0),
            (0xffff_ffff_ffff_ffff, 0x7fff_ffff), (0xffff_8880_0000_0000, 0), (0xffff_8881_2345_6789, 0x1_2345_6789),
        ] as [(UInt64, UInt64)] {
            #expect(stock.physicalAddress(of: VirtualAddress(virtual)) == PhysicalAddress(physical))
        }
        #expect(stock.virtualAddress(of: PhysicalAddress(0x100_0123)) == VirtualAddress(0xffff_8880_0100_0123))
    }

    /// A permutation of its own: every page to another frame and back, the table's order unused, its key decisive.
    @Test(arguments: [1, 2, 3, 4, 5, 16, 17, 1000, 4096, 10_288, 65_537]) func computed(pages: Int) throws {
        var random = TestRandom()
        let table = try randomTable(pages: pages, granule: 1, staying: 0, &random)
        let same = try makeTable((0..<UInt32(pages)).map { $0 }, at: table.virtualBase, table.physicalBase)
        let seeds = ["0", "1"].map { String(repeating: "0", count: 63) + $0 }
        let first = try ComputedPermutation(at: table, seed: Seed.parse(hexadecimal: seeds[0]))
        let again = try ComputedPermutation(at: same, seed: Seed.parse(hexadecimal: seeds[0]))
        let other = try ComputedPermutation(at: table, seed: Seed.parse(hexadecimal: seeds[1]))
        var taken = [Bool](repeating: false, count: pages)
        var agreements = 0
        for page in 0..<UInt64(pages) {
            let frame = first.frame(of: page)
            try #require(frame < pages && first.page(in: frame) == page && again.frame(of: page) == frame)
            try #require(!taken[Int(frame)])
            taken[Int(frame)] = true
            if other.frame(of: page) == frame { agreements += 1 }
        }
        // Two random orders of many pages agree in about one.
        #expect(pages < 16 || agreements < 12)
        let wrong = firstNotLinear(first, table, &random)
        #expect(wrong == nil, TestRandom.comment())
    }

    /// Each frame is as likely as another: the places that page 0 of 64 takes under 6,400 keys.
    @Test func computedIsEven() throws {
        let table = try makeTable((0..<64).map { $0 })
        var counts = [Double](repeating: 0, count: 64)
        for key in 0..<6400 {
            let digits = String(key, radix: 16)
            let text = String(repeating: "0", count: 64 - digits.count) + digits
            let computed = try ComputedPermutation(at: table, seed: Seed.parse(hexadecimal: text))
            counts[Int(computed.frame(of: 0))] += 1
        }
        let statistic = counts.reduce(0) { $0 + ($1 - 100) * ($1 - 100) / 100 }
        #expect(statistic < 117)  // chi-squared, 63 degrees of freedom, p = 0.00004; the keys are fixed
    }
}

struct LookupShapeTests {
    /// The bytes that the sample kernels read, and no others.
    @Test func flatIsTheFormat() throws {
        let table = try makeTable([3, 1, 0, 2])
        let flat = try FlatTable<UInt32>(table)
        let bytes = unsafe Array(flat.memory)
        #expect(bytes[..<TableLookup.headerBytes] == table.bytes[..<TableLookup.headerBytes] && bytes == table.bytes)
        #expect(flat.tableBytes == 72 && flat.cacheLines == 2)
        #expect(try FlatTable<UInt16>(table).tableBytes == 56)
    }

    /// What is added to an address of each page, and behind that to any other, both ways.
    @Test func offsetsAreDifferences() throws {
        let table = try makeTable([1, 2, 0], at: VirtualAddress(0xffff_ffff_8100_0000), PhysicalAddress(0x123_4000))
        let offsets = FlatOffsets(table)
        let linear: UInt64 = 0x123_4000 &- 0xffff_ffff_8100_0000
        let forward = [linear &+ 0x1000, linear &+ 0x1000, linear &- 0x2000, linear]
        let back = [0 &- linear &+ 0x2000, 0 &- linear &- 0x1000, 0 &- linear &- 0x1000, 0 &- linear]
        let bytes = unsafe Array(offsets.memory)
        let words = stride(from: 0, to: bytes.count, by: 8).map { start in
            (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) }
        }
        #expect(words == forward + back)
        #expect(offsets.tableBytes == 2 * OffsetLookup.byteCount(pages: 3) && offsets.cacheLines == 1)
    }

    @Test func sizes() throws {
        let identity = try makeTable((0..<1000).map { $0 })
        #expect(TwoLevelTable(identity).tableBytes == 128)  // two directories of two entries, each in a line of its own
        #expect(SortedRuns(identity).tableBytes == 72 && SortedRuns(identity).cacheLines == 2)
        #expect(EytzingerRuns(identity).cacheLines == 2)
        #expect(RangeScan(identity).rangeCount == 1 && RangeScan(identity).tableBytes == 24)
        #expect(HashedPages(identity).tableBytes == 32)
        // One top table and one a level each way, and two leaves, for 1000 pages from a border of 2 MB on.
        #expect(try PageTableWalk<4>(identity).tableBytes == 2 * 5 * 4096)
        #expect(try PageTableWalk<5>(identity).tableBytes == 2 * 6 * 4096)
        #expect(try PageTableWalk<3>(identity).cacheLines == 4)
        #expect(LinearOffset(identity).tableBytes == 0 && LinearOffset(identity).cacheLines == 1)

        let reversed = try makeTable((0..<1000).reversed().map { $0 })
        #expect(TwoLevelTable(reversed).tableBytes == 128 + 4 * 4 * 512)
        #expect(RangeScan(reversed).rangeCount == 1000)
        #expect(SortedRuns(reversed).cacheLines == 11 && EytzingerRuns(reversed).cacheLines == 9)
        #expect(HashedPages(reversed).tableBytes == 2 * 8 * 2048)
    }

    @Test func refusals() throws {
        var random = TestRandom()
        let large = try randomTable(pages: 65_537, granule: 1, staying: 0, &random)
        #expect(throws: LookupError.tooManyPages(65_537, limit: 65_536)) { _ = try FlatTable<UInt16>(large) }
        let uneven = try makeTable([0], at: VirtualAddress(0xffff_ffff_8100_0800), PhysicalAddress(0x1000))
        #expect(throws: LookupError.notWholePages) { _ = try PageTableWalk<4>(uneven) }
        let high = try makeTable([0, 1], at: VirtualAddress(0), PhysicalAddress(1 << 52 - 4096))
        #expect(throws: LookupError.addressTooHigh(PhysicalAddress(1 << 52 + 4095))) { _ = try PageTableWalk<4>(high) }
    }
}
