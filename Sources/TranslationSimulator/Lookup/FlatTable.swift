// SPDX-License-Identifier: MIT

// The translation table as it lies in a permuted kernel's memory, read by the
// source that the sample kernels are built with (TableLookup.swift): nothing is
// looked up here. With 32-bit entries the bytes are the format's own; with
// 16-bit ones the same header stands before entries of half the size.

public import Addressing
public import PagePermutation

/// One entry a page, by number.
public struct FlatTable<Entry: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>: LookupStrategy, ~Copyable {
    private let table: LookupMemory

    /// - Throws: `LookupError.tooManyPages` when an entry cannot hold the last frame's number.
    public init(_ table: TranslationTable) throws(LookupError) {
        let limit = Entry.bitWidth < 32 ? 1 << Entry.bitWidth : Int(UInt32.max)
        guard table.pageCount <= limit else { throw .tooManyPages(table.pageCount, limit: limit) }
        let header = TableLookup.headerBytes
        var memory = LookupMemory(byteCount: header + 2 * table.pageCount * Entry.bitWidth / 8)
        for (i, byte) in table.bytes.prefix(header).enumerated() { memory.store(byte, 0, i) }
        for (i, frame) in table.forward.enumerated() { memory.store(Entry(frame).littleEndian, header, i) }
        for (i, page) in table.inverse.enumerated() {
            memory.store(Entry(page).littleEndian, header, table.pageCount + i)
        }
        self.table = memory
    }

    public var name: String { "flat table, \(Entry.bitWidth)-bit" }
    public var tableBytes: Int { table.byteCount }
    public var cacheLines: Int { 2 }
    public var memory: UnsafeRawBufferPointer { unsafe table.bytes }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        let virtual = address.rawValue
        return PhysicalAddress(
            unsafe TableLookup.physicalAddress(of: virtual, in: table.bytes.bytes, entries: Entry.self)
                ?? TableLookup.linearPhysicalAddress(of: virtual, in: table.bytes.bytes))
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        let physical = address.rawValue
        return VirtualAddress(
            unsafe TableLookup.virtualAddress(of: physical, in: table.bytes.bytes, entries: Entry.self)
                ?? TableLookup.linearVirtualAddress(of: physical, in: table.bytes.bytes))
    }
}
