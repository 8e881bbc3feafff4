// SPDX-License-Identifier: MIT

// The translation table as bytes, and the lookup in it: what `virt_to_phys`
// becomes. This file imports nothing and allocates nothing, because the same
// source runs in the tool, in the simulator and, as Embedded Swift, inside the
// sample kernel.
//
// Layout, little-endian, version 1:
//
//    0  magic        "KPERMTBL"
//    8  version      u16 = 1
//   10  flags        u16: bit 0 set = drawn by the tool (baked), clear = drawn at boot
//   12  pages        u32: number of pages, the same as of frames
//   16  virtual base u64: virtual address of page 0
//   24  phys base    u64: physical address of frame 0
//   32  moved        u32: number of pages whose frame differs from their own number
//   36  checksum     u32: CRC-32C of the whole table with this field zero
//   40  forward      u32[pages]: the frame of each page
//    …  inverse      u32[pages]: the page in each frame

/// Reads a translation table where it lies in memory.
public enum TableLookup {
    /// "KPERMTBL" as a little-endian number.
    public static let magic: UInt64 = 0x4c42_544d_5245_504b
    public static let version: UInt16 = 1
    public static let bakedFlag: UInt16 = 1
    @inlinable @inline(__always) public static var headerBytes: Int { 40 }
    static let checksumOffset = 36

    /// The size in bytes of a table of so many pages.
    public static func byteCount(pages: Int) -> Int { headerBytes + 8 * pages }

    /// The number of pages, or nil if these bytes do not begin a table that fits into them.
    public static func pageCount(_ table: RawSpan) -> Int? {
        guard table.byteCount >= headerBytes, read(table, 0, UInt64.self) == magic,
            read(table, 8, UInt16.self) == version
        else { return nil }
        let pages = Int(read(table, 12, UInt32.self))
        return table.byteCount >= byteCount(pages: pages) ? pages : nil
    }

    public static func virtualBase(_ table: RawSpan) -> UInt64 { read(table, 16, UInt64.self) }

    public static func physicalBase(_ table: RawSpan) -> UInt64 { read(table, 24, UInt64.self) }

    /// The physical address behind a virtual address of the image, or nil outside it.
    ///
    /// As in a kernel, nothing is checked that was checked when the table was found: it must be one that `pageCount`
    /// accepts, or one like it whose entries are of another size.
    @unsafe @inlinable @inline(__always)
    public static func physicalAddress<Entry: FixedWidthInteger & BitwiseCopyable>(
        of virtual: UInt64, in table: RawSpan, entries: Entry.Type = UInt32.self
    ) -> UInt64? {
        let offset = virtual &- (unsafe load(table, 16, UInt64.self))
        let page = offset >> 12
        guard _fastPath(page < UInt64(truncatingIfNeeded: unsafe load(table, 12, UInt32.self))) else { return nil }
        let frame = unsafe load(table, headerBytes &+ Int(truncatingIfNeeded: page) &* entryBytes(entries), entries)
        let base = unsafe load(table, 24, UInt64.self)
        return base &+ UInt64(truncatingIfNeeded: frame) << 12 &+ offset & 0xfff
    }

    /// The virtual address of the image that shows a physical address, or nil outside its frames.
    ///
    /// The table must be one that `physicalAddress` may be given.
    @unsafe @inlinable @inline(__always)
    public static func virtualAddress<Entry: FixedWidthInteger & BitwiseCopyable>(
        of physical: UInt64, in table: RawSpan, entries: Entry.Type = UInt32.self
    ) -> UInt64? {
        let offset = physical &- (unsafe load(table, 24, UInt64.self))
        let frame = offset >> 12
        let pages = UInt64(truncatingIfNeeded: unsafe load(table, 12, UInt32.self))
        guard _fastPath(frame < pages) else { return nil }
        let index = Int(truncatingIfNeeded: pages &+ frame)
        let page = unsafe load(table, headerBytes &+ index &* entryBytes(entries), entries)
        let base = unsafe load(table, 16, UInt64.self)
        return base &+ UInt64(truncatingIfNeeded: page) << 12 &+ offset & 0xfff
    }

    /// Where an address would lie if nothing had moved; of a table that `physicalAddress` may be given.
    @unsafe @inlinable @inline(__always)
    public static func linearPhysicalAddress(of virtual: UInt64, in table: RawSpan) -> UInt64 {
        unsafe virtual &- load(table, 16, UInt64.self) &+ load(table, 24, UInt64.self)
    }

    /// The way back from `linearPhysicalAddress`.
    @unsafe @inlinable @inline(__always)
    public static func linearVirtualAddress(of physical: UInt64, in table: RawSpan) -> UInt64 {
        unsafe physical &- load(table, 24, UInt64.self) &+ load(table, 16, UInt64.self)
    }

    /// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of a table, its checksum field taken as zero.
    public static func checksum(_ table: RawSpan) -> UInt32 {
        /// What four bits that leave the register put into it.
        var steps = InlineArray<16, UInt32>(repeating: 0)
        for bits in UInt32(0)..<16 {
            var crc = bits
            for _ in 0..<4 { crc = crc >> 1 ^ (0x82f6_3b78 & (0 &- (crc & 1))) }
            steps[Int(bits)] = crc
        }
        var crc: UInt32 = 0xffff_ffff
        for i in 0..<table.byteCount {
            let inField = i >= checksumOffset && i < checksumOffset + 4
            crc ^= inField ? 0 : UInt32(read(table, i, UInt8.self))
            crc = crc >> 4 ^ steps[Int(crc & 15)]
            crc = crc >> 4 ^ steps[Int(crc & 15)]
        }
        return ~crc
    }

    @inline(__always)
    static func read<T: FixedWidthInteger & BitwiseCopyable>(_ table: RawSpan, _ offset: Int, _: T.Type) -> T {
        T(littleEndian: unsafe table.unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
    }

    @unsafe @inlinable @inline(__always)
    static func load<T: FixedWidthInteger & BitwiseCopyable>(_ table: RawSpan, _ offset: Int, _: T.Type) -> T {
        T(littleEndian: unsafe table.unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: T.self))
    }

    @inlinable @inline(__always)
    static func entryBytes<T: FixedWidthInteger>(_: T.Type) -> Int { T.bitWidth / 8 }
}
