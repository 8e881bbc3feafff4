// SPDX-License-Identifier: MIT

// Addresses and page numbers as types of their own, so that a virtual address
// can never be passed where a physical one is meant. Everything in kperm that
// names a place in memory uses these four types; none of them knows of ELF, of
// permutations or of a guest.

/// The unit of translation, in bytes.
public let pageSize = 4096

/// A virtual address of the kernel, in bytes.
public struct VirtualAddress: Hashable, Comparable, Sendable {
    public var rawValue: UInt64

    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    public static func + (a: Self, bytes: UInt64) -> Self { Self(a.rawValue &+ bytes) }

    /// The distance in bytes; `b` must not lie above `a`.
    public static func - (a: Self, b: Self) -> UInt64 { a.rawValue - b.rawValue }

    public var offsetInPage: Int { Int(rawValue & UInt64(pageSize - 1)) }
}

/// A physical address, in bytes.
public struct PhysicalAddress: Hashable, Comparable, Sendable {
    public var rawValue: UInt64

    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    public static func + (a: Self, bytes: UInt64) -> Self { Self(a.rawValue &+ bytes) }

    /// The distance in bytes; `b` must not lie above `a`.
    public static func - (a: Self, b: Self) -> UInt64 { a.rawValue - b.rawValue }

    public var offsetInPage: Int { Int(rawValue & UInt64(pageSize - 1)) }
}

/// A page of the image: page *i* lies at the image's virtual base + *i* · 4096.
public struct Page: Hashable, Comparable, Sendable {
    public var index: Int

    public init(_ index: Int) { self.index = index }

    public static func < (a: Self, b: Self) -> Bool { a.index < b.index }
}

/// A frame of the image: frame *i* lies at the image's physical base + *i* · 4096.
public struct Frame: Hashable, Comparable, Sendable {
    public var index: Int

    public init(_ index: Int) { self.index = index }

    public static func < (a: Self, b: Self) -> Bool { a.index < b.index }
}

extension FixedWidthInteger {
    /// `0x…` in lower case, as addresses are written everywhere in kperm.
    public var hex: String { "0x" + String(self, radix: 16) }

    /// The next multiple of `alignment` (a power of two) at or above this value, or nil on overflow.
    public func roundedUp(to alignment: Self) -> Self? {
        let (sum, overflow) = addingReportingOverflow(alignment - 1)
        return overflow ? nil : sum & ~(alignment - 1)
    }
}

extension VirtualAddress: CustomStringConvertible {
    public var description: String { rawValue.hex }
}

extension PhysicalAddress: CustomStringConvertible {
    public var description: String { rawValue.hex }
}
