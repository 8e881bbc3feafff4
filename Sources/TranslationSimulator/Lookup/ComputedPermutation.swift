// SPDX-License-Identifier: MIT

// A permutation that is computed instead of stored: a Feistel network over the
// numbers of the pages, with round keys from ChaCha20.
//
// It is a permutation of its own, not the table's: a network cannot be made to
// give a drawn table back. It knows no classes and no pins, so no kernel boots
// under it as it is; it stands here for its cost. Its round function is a keyed
// mixer made for speed, not a pseudorandom function: the keys are secret, and
// nothing is claimed of what an attacker learns from outputs.
//
// A network permutes the numbers of so many bits. Where that leads outside the
// pages, it is applied again until it leads back inside (cycle-walking): fewer
// than two applications on average, since fewer than half of the numbers lie
// outside.

public import PagePermutation
public import SecureRandom

/// Ten rounds (as in NIST's FF1), no table.
public struct ComputedPermutation: PageLookup, ~Copyable {
    private static let rounds = 10

    public let place: ImagePlace
    private let keys: InlineArray<10, UInt64>
    /// The bits of the two halves: the same, or the left one bit shorter.
    private let leftBits: UInt64
    private let rightBits: UInt64

    /// A permutation of the pages of a table, at its addresses; the table's own order is not used.
    ///
    /// - Throws: `SeedError.outOfMemory` when libsodium has no locked memory left.
    public init(at table: TranslationTable, seed: borrowing Seed) throws(SeedError) {
        place = ImagePlace(table)
        let bits = UInt64(max(2, bitWidth(place.pages - 1)))
        leftBits = bits / 2
        rightBits = bits - bits / 2
        var stream = try RandomStream(seed: seed, domain: "kperm/lookup/feistel")
        var keys = InlineArray<10, UInt64>(repeating: 0)
        for i in keys.indices { keys[i] = UInt64(stream.next()) << 32 | UInt64(stream.next()) }
        self.keys = keys
    }

    public var name: String { "computed (Feistel), no table" }
    public var tableBytes: Int { MemoryLayout<InlineArray<10, UInt64>>.size }
    public var cacheLines: Int { 1 + lines(tableBytes) }
    public var orderDependence: String? { "applications: how often the network leads outside, which its keys decide" }
    public var memory: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: nil, count: 0) }

    @inline(__always)
    private static func mix(_ half: UInt64, _ key: UInt64) -> UInt64 {
        let product = (half ^ key) &* 0x9e37_79b9_7f4a_7c15
        return ((product ^ product >> 32) &* (key | 1)) >> 40
    }

    @inline(__always)
    private func permute(_ number: UInt64) -> UInt64 {
        var left = number &>> rightBits
        var right = number & (1 &<< rightBits &- 1)
        var i = 0
        while i < Self.rounds {
            left ^= unsafe Self.mix(right, keys[unchecked: i]) & (1 &<< leftBits &- 1)
            right ^= unsafe Self.mix(left, keys[unchecked: i &+ 1]) & (1 &<< rightBits &- 1)
            i &+= 2
        }
        return left &<< rightBits | right
    }

    @inline(__always)
    private func unpermute(_ number: UInt64) -> UInt64 {
        var left = number &>> rightBits
        var right = number & (1 &<< rightBits &- 1)
        var i = Self.rounds
        while i > 0 {
            i &-= 2
            right ^= unsafe Self.mix(left, keys[unchecked: i &+ 1]) & (1 &<< rightBits &- 1)
            left ^= unsafe Self.mix(right, keys[unchecked: i]) & (1 &<< leftBits &- 1)
        }
        return left &<< rightBits | right
    }

    @inline(__always)
    public func frame(of page: UInt64) -> UInt64 {
        var number = page
        repeat { number = permute(number) } while number >= place.pages
        return number
    }

    @inline(__always)
    public func page(in frame: UInt64) -> UInt64 {
        var number = frame
        repeat { number = unpermute(number) } while number >= place.pages
        return number
    }
}
