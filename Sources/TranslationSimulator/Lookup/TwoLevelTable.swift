// SPDX-License-Identifier: MIT

// A directory of leaves of 512 entries. Where no page of a leaf moved there is
// no leaf, so a table in which little moves is small.

public import PagePermutation

/// A directory entry leads to the entries of 512 pages.
public struct TwoLevelTable: PageLookup, ~Copyable {
    static let leafBits: UInt64 = 9
    private static let leafPages = 1 << 9

    public let place: ImagePlace
    private let table: LookupMemory
    /// Where the directory of the inverse begins, in bytes.
    private let inverse: Int

    public init(_ table: TranslationTable) {
        place = ImagePlace(table)
        let slots = (table.pageCount + Self.leafPages - 1) / Self.leafPages
        let directory = lines(4 * slots) * 64
        inverse = directory
        var directories: [UInt32] = []
        var leaves: [UInt32] = []
        for entries in [table.forward, table.inverse] {
            for slot in 0..<slots {
                let pages = slot * Self.leafPages..<(slot + 1) * Self.leafPages
                let known = entries[pages.clamped(to: entries.indices)]
                guard known.enumerated().contains(where: { $1 != pages.lowerBound + $0 }) else {
                    directories.append(0)
                    continue
                }
                directories.append(UInt32(2 * directory / 4 + leaves.count))
                leaves += known + [UInt32](repeating: 0, count: pages.count - known.count)
            }
        }
        var memory = LookupMemory(byteCount: 2 * directory + 4 * leaves.count)
        for (i, leaf) in directories.enumerated() { memory.store(leaf, i < slots ? 0 : inverse, i % slots) }
        for (i, entry) in leaves.enumerated() { memory.store(entry, 2 * directory, i) }
        self.table = memory
    }

    public var name: String { "two-level table" }
    public var tableBytes: Int { table.byteCount }
    public var cacheLines: Int { 3 }
    public var orderDependence: String? { "bytes: leaves of which no page moved are left out" }
    public var memory: UnsafeRawBufferPointer { unsafe table.bytes }

    @inline(__always)
    private func entry(_ directory: Int, _ number: UInt64) -> UInt64 {
        let leaf = table.load(directory, number >> Self.leafBits, as: UInt32.self)
        guard leaf != 0 else { return number }
        return UInt64(table.load(0, UInt64(leaf) &+ number & (1 << Self.leafBits &- 1), as: UInt32.self))
    }

    @inline(__always)
    public func frame(of page: UInt64) -> UInt64 { entry(0, page) }

    @inline(__always)
    public func page(in frame: UInt64) -> UInt64 { entry(inverse, frame) }
}
