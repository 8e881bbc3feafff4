// SPDX-License-Identifier: MIT

// How much memory one entry of a translation buffer covers.

/// From the smallest to the largest.
public enum MappingSize: Int, CaseIterable, Sendable, Comparable {
    case size4K, size16K, size64K, size2M, size1G

    /// As it is written everywhere: "4K".
    public var name: String { ["4K", "16K", "64K", "2M", "1G"][rawValue] }

    /// The binary logarithm of its pages.
    var pageBits: UInt64 { [0, 2, 4, 9, 18][rawValue] }

    /// The level of the page tables at which a mapping with a raw value ends: 1 is that of single pages. Mappings of
    /// 16K and 64K are runs of pages that the hardware takes as one: coalesced, contpte, Svnapot.
    @inline(__always)
    static func leafLevel(_ rawValue: Int) -> Int { rawValue < 3 ? 1 : rawValue &- 1 }

    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    public init?(name: String) {
        guard let size = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = size
    }
}
