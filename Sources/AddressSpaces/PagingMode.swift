// SPDX-License-Identifier: MIT

// A paging mode is what the processor does with an address: how many bits it
// looks at, in how many steps. Where Linux then puts things is a layout.

/// A paging mode of a 64-bit processor with pages of 4 KB.
public struct PagingMode: Equatable, Sendable {
    public let name: String
    /// Whose processors have it. A kernel can run under another mode of the same family only.
    public let family: String
    /// Steps of a walk: 9 bits of the address each.
    public let levels: Int
    /// User space has 2^`halfBits` addresses from 0 on, the kernel as many up to the last one.
    public let halfBits: Int
    /// How a kernel comes to run under this mode.
    public let choice: String

    /// The bits that an address has.
    public var addressBits: Int { 12 + 9 * levels }

    /// Whether the processor takes an address at all.
    public func isCanonical(_ address: UInt64) -> Bool {
        let high = address >> UInt64(halfBits)
        return high == 0 || high == .max >> UInt64(halfBits)
    }

    /// The addresses that the processor refuses.
    public var hole: ClosedRange<UInt64> { 1 << UInt64(halfBits)...(0 &- 1 << UInt64(halfBits)) - 1 }

    /// The address that is left of another one when all but the bits of this mode are dropped.
    public func truncated(_ address: UInt64) -> UInt64 {
        let unused = UInt64(64 - addressBits)
        // On arm64 the half is chosen by bit 63, so that all bits below are the half's own.
        if halfBits == addressBits {
            let own = UInt64.max >> unused
            return address >> 63 == 0 ? address & own : address | ~own
        }
        return UInt64(bitPattern: Int64(bitPattern: address << unused) >> Int64(unused))
    }

    static func riscv(_ levels: Int) -> Self {
        Self(
            name: "sv\(12 + 9 * levels)", family: "riscv64", levels: levels, halfBits: 11 + 9 * levels,
            choice: "at boot: the deepest mode that the processor has")
    }

    static func x86(_ levels: Int) -> Self {
        Self(
            name: "x86-\(levels)", family: "x86-64", levels: levels, halfBits: 11 + 9 * levels,
            choice: "at boot: 5 levels where the processor has LA57 (no5lvl: 4)")
    }

    static func arm64(_ bits: Int) -> Self {
        Self(
            name: "arm64-\(bits)", family: "arm64", levels: (bits - 12) / 9, halfBits: bits,
            choice: "when the kernel is built (CONFIG_ARM64_VA_BITS)")
    }
}
