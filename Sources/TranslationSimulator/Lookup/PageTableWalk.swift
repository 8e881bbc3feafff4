// SPDX-License-Identifier: MIT

// What `vmalloc_to_page` does: from the top table down, an entry a level, each
// tested for being present and for being a large page, its flags masked off. The
// tables are pages of 512 entries as the processor reads them, in one buffer
// that stands for the direct map: the "physical address" of a table is its
// place in the buffer.
//
// A kernel has no tables for the way back. To have one to compare, the same
// structure is built over physical addresses; its leaves hold the distance from
// the image's virtual base.

public import Addressing
public import PagePermutation

/// A walk of so many levels of page tables, leaves of 4 KB.
public struct PageTableWalk<let levels: Int>: LookupStrategy, ~Copyable {
    private static var present: UInt64 { 1 }
    private static var large: UInt64 { 1 << 7 }
    private static var addressBits: UInt64 { 0x000f_ffff_ffff_f000 }
    /// Present, writable, accessed, dirty, global, not executable.
    private static var leafFlags: UInt64 { 1 << 63 | 0x163 }
    private static var tableFlags: UInt64 { 0x67 }

    private let place: ImagePlace
    private let linear: LinearOffset
    private let tables: LookupMemory
    /// The top table of the way back.
    private let inverseTop: UInt64

    /// - Throws: `LookupError.notWholePages` or `.addressTooHigh` when the addresses do not fit entries.
    public init(_ table: TranslationTable) throws(LookupError) {
        place = ImagePlace(table)
        linear = LinearOffset(table)
        guard (place.virtualBase | place.physicalBase) & 0xfff == 0 else { throw .notWholePages }
        let bytes = place.pages << 12
        let (end, overflow) = place.physicalBase.addingReportingOverflow(bytes)
        guard !overflow, end <= 1 << 52 else { throw .addressTooHigh(table.physicalBase + (bytes - 1)) }
        let limit = levels > 4 ? Int(UInt32.max) : 1 << (9 * levels)
        guard table.pageCount <= limit else { throw .tooManyPages(table.pageCount, limit: limit) }

        var builder = Builder(levels: levels)
        let top = builder.newTable()
        for (page, frame) in table.forward.enumerated() {
            builder.map(
                place.virtualBase &+ UInt64(page) << 12, place.physicalBase &+ UInt64(frame) << 12 | Self.leafFlags,
                top, Self.tableFlags)
        }
        inverseTop = builder.newTable()
        for (frame, page) in table.inverse.enumerated() {
            builder.map(
                place.physicalBase &+ UInt64(frame) << 12, UInt64(page) << 12 | Self.leafFlags, inverseTop,
                Self.tableFlags)
        }
        var memory = LookupMemory(byteCount: 8 * builder.entries.count)
        for (i, entry) in builder.entries.enumerated() { memory.store(entry, 0, i) }
        tables = memory
    }

    private struct Builder {
        let levels: Int
        var entries: [UInt64] = []

        mutating func newTable() -> UInt64 {
            defer { entries += [UInt64](repeating: 0, count: 512) }
            return UInt64(entries.count) * 8
        }

        mutating func map(_ address: UInt64, _ leaf: UInt64, _ top: UInt64, _ flags: UInt64) {
            var table = top
            for level in (1..<levels).reversed() {
                let index = Int(table / 8 + address >> UInt64(12 + 9 * level) & 511)
                if entries[index] == 0 {
                    let new = newTable()
                    entries[index] = new | flags
                }
                table = entries[index] & ~0xfff
            }
            entries[Int(table / 8 + address >> 12 & 511)] = leaf
        }
    }

    public var name: String { "page-table walk, \(levels) levels" }
    public var tableBytes: Int { tables.byteCount }
    public var cacheLines: Int { 1 + levels }
    public var memory: UnsafeRawBufferPointer { unsafe tables.bytes }

    /// The address bits of the leaf, or nil if there is none.
    @inline(__always)
    private func walk(_ top: UInt64, _ address: UInt64) -> UInt64? {
        var table = top
        var shift = UInt64(12 &+ 9 &* (levels &- 1))
        while true {
            let index = address &>> shift & 511
            let entry = tables.load(Int(truncatingIfNeeded: table), index, as: UInt64.self)
            guard entry & Self.present != 0 else { return nil }
            if shift == 12 { return entry & Self.addressBits }
            guard entry & Self.large == 0 else { return nil }
            table = entry & Self.addressBits
            shift &-= 9
        }
    }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        guard (address.rawValue &- place.virtualBase) >> 12 < place.pages, let frame = walk(0, address.rawValue) else {
            return linear.physicalAddress(of: address)
        }
        return PhysicalAddress(frame | address.rawValue & 0xfff)
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        guard (address.rawValue &- place.physicalBase) >> 12 < place.pages,
            let offset = walk(inverseTop, address.rawValue)
        else { return linear.virtualAddress(of: address) }
        return VirtualAddress(place.virtualBase &+ (offset | address.rawValue & 0xfff))
    }
}
