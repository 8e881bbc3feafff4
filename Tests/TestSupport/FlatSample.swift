// SPDX-License-Identifier: MIT

// A flat riscv64 Image made of values: 32 pages, the last eight of them BSS that
// the file lacks, with a descriptor as images/riscv64/linux/kperm/descriptor.h
// states it. Nothing in it runs; each page's bytes tell its number.

public struct FlatSample {
    public static let pages = 32
    public static let stored = 24
    /// Pages: header and early code stay, then text, init code, a pinned page of init data, the descriptor with the
    /// tables, rodata, data, BSS.
    public static let classes: [(name: String, pages: Range<Int>)] = [
        ("text", 2..<9), ("init-text", 9..<12), ("rodata", 15..<20), ("data", 20..<24), ("bss", 24..<32),
    ]
    public static let descriptor = 13 * 4096
    public static let forward = 14 * 4096
    public static let virtualBase: UInt64 = 0xffff_ffff_8000_0000

    public var bytes: [UInt8]
    /// Entries of each table.
    public var capacity: Int

    /// - Parameter capacity: entries of each table, which lie behind one another.
    public init(capacity: Int = 40) {
        self.capacity = capacity
        bytes = (0..<Self.stored * 4096).map { UInt8(truncatingIfNeeded: $0 / 4096 &* 7 &+ $0 &* 13 &+ 1) }
        for page in 12..<15 { for at in page * 4096..<(page + 1) * 4096 { bytes[at] = 0 } }
        let memory = Self.pages * 4096 - 100
        put(UInt64(memory), at: 0x10)
        put(UInt32(0x0543_5352), at: 0x38)
        let place = Self.descriptor
        bytes.replaceSubrange(place..<place + 8, with: Array("kperm\0rv".utf8))
        let inverse = Self.forward + 4 * capacity
        let lists = (classes: place + 0x100, pins: place + 0x200, changed: place + 0x400)
        let words: [Int: Int] = [
            0x08: 1, 0x0c: 0x78, 0x10: place, 0x14: memory, 0x18: Self.stored * 4096, 0x1c: 4096, 0x20: capacity,
            0x24: Self.forward, 0x28: inverse, 0x2c: lists.classes, 0x30: Self.classes.count, 0x34: lists.pins, 0x38: 4,
            0x58: Int(Self.virtualBase & 0xffff_ffff), 0x5c: Int(Self.virtualBase >> 32), 0x6c: lists.changed, 0x70: 3,
            0x74: 3 * 4096,
        ]
        for (at, value) in words { put(UInt32(value), at: place + at) }
        for (index, pageClass) in Self.classes.enumerated() {
            let end = min(pageClass.pages.upperBound * 4096, memory)
            record(pageClass.name, pageClass.pages.lowerBound * 4096, end, at: lists.classes + 32 * index, 32)
        }
        record("entry", 0, 4096, at: lists.pins, 64)
        record("early", 4096, 2 * 4096, at: lists.pins + 64, 64)
        record("early data", 12 * 4096, 13 * 4096, at: lists.pins + 128, 64)
        record("the table", 13 * 4096, 15 * 4096, at: lists.pins + 192, 64)
        record("start", 20 * 4096 + 16, 20 * 4096 + 24, at: lists.changed, 32)
        record("init", 19 * 4096, 19 * 4096 + 32, at: lists.changed + 32, 32)
        record("mcount", 18 * 4096, 18 * 4096 + 8, at: lists.changed + 64, 32)
        // a function at page 4 + 8 whose nops are two short ones and a long one
        put(Self.virtualBase + 4 * 4096 + 8, at: 18 * 4096)
        put(UInt64(0x0000_0013_0001_0001), at: 4 * 4096 + 8)
        put(UInt32(0x0000_8082), at: 4 * 4096 + 16)
    }

    public mutating func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        for byte in 0..<T.bitWidth / 8 { bytes[offset + byte] = UInt8(truncatingIfNeeded: value >> T(8 * byte)) }
    }

    private mutating func record(_ text: String, _ start: Int, _ end: Int, at offset: Int, _ size: Int) {
        bytes.replaceSubrange(offset..<offset + text.utf8.count, with: Array(text.utf8))
        put(UInt32(start), at: offset + size - 8)
        put(UInt32(end), at: offset + size - 4)
    }
}
