// SPDX-License-Identifier: MIT

// A flat table of what to add to an address instead of numbers of frames, 8 bytes
// a page each way, by the source that a kernel can be built with
// (OffsetLookup.swift). Where the image lies is known as a linked kernel knows it.

public import Addressing
public import PagePermutation

/// One word a page, and one for everything outside.
public struct FlatOffsets: LookupStrategy, ~Copyable {
    private let minusVirtualBase: UInt64
    private let minusPhysicalBase: UInt64
    private let pages: UInt64
    /// The number of pages once more: see `OffsetLookup.translate`.
    private let outside: UInt64
    private let table: LookupMemory
    /// Where the way back begins, in bytes.
    private let inverseStart: Int

    public init(_ table: TranslationTable) {
        let place = ImagePlace(table)
        minusVirtualBase = 0 &- place.virtualBase
        minusPhysicalBase = 0 &- place.physicalBase
        (pages, outside) = (place.pages, place.pages)
        inverseStart = OffsetLookup.byteCount(pages: table.pageCount)
        var memory = LookupMemory(byteCount: 2 * inverseStart)
        for (start, numbers, base, target) in [
            (0, table.forward, place.virtualBase, place.physicalBase),
            (inverseStart, table.inverse, place.physicalBase, place.virtualBase),
        ] {
            for (i, number) in (numbers + [UInt32(numbers.count)]).enumerated() {
                let entry = OffsetLookup.entry(page: UInt64(i), frame: UInt64(number), base: base, target: target)
                memory.store(entry, start, i)
            }
        }
        self.table = memory
    }

    public var name: String { "flat table, 64-bit offsets" }
    public var tableBytes: Int { table.byteCount }
    public var cacheLines: Int { 1 }
    public var memory: UnsafeRawBufferPointer { unsafe table.bytes }

    /// What the loop in C reads: the numbers as `OffsetLookup.translate` takes them.
    var numbers: (minusVirtualBase: UInt64, pages: UInt64) { (minusVirtualBase, pages) }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        PhysicalAddress(
            unsafe OffsetLookup.translate(
                address.rawValue, minusBase: minusVirtualBase, pages: pages, outside: outside, offsets: table.start))
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        VirtualAddress(
            unsafe OffsetLookup.translate(
                address.rawValue, minusBase: minusPhysicalBase, pages: pages, outside: outside,
                offsets: table.start + inverseStart))
    }
}
