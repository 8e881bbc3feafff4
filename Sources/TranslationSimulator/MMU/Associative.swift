// SPDX-License-Identifier: MIT

// The one structure that translation buffers, walk caches and caches are made
// of: sets of ways, each of which holds a key. Under LRU a set is kept in the
// order of use, so a hit at its front costs one comparison and changes nothing.

/// What leaves when a set is full.
public enum Replacement: String, CaseIterable, Sendable {
    /// The one used longest ago.
    case lru
    /// A tree of bits, each pointing away from the half used last.
    case plru
}

/// Memory of structures; it goes with the last of them.
@safe final class Arena: @unchecked Sendable {
    private var blocks = unsafe [UnsafeMutableRawPointer]()
    private(set) var byteCount = 0

    func allocate<T: BitwiseCopyable>(_ count: Int, repeating value: T) -> UnsafeMutablePointer<T> {
        let block = UnsafeMutableRawPointer.allocate(
            byteCount: max(1, count) * MemoryLayout<T>.stride, alignment: 64)
        unsafe blocks.append(block)
        byteCount += max(1, count) * MemoryLayout<T>.stride
        let typed = unsafe block.bindMemory(to: T.self, capacity: count)
        unsafe typed.initialize(repeating: value, count: count)
        return unsafe typed
    }

    deinit {
        for index in unsafe blocks.indices { unsafe blocks[index].deallocate() }
    }
}

/// Sets of ways.
@safe struct Associative: BitwiseCopyable {
    static let empty = UInt64.max

    private let keys: UnsafeMutablePointer<UInt64>
    /// Of each set, under PLRU.
    private let trees: UnsafeMutablePointer<UInt64>?
    private let ways: Int
    private let setMask: UInt64

    /// `entries` divided by `ways` is a power of two; under PLRU `ways` is one, too, and at most 64.
    init(entries: Int, ways: Int, _ replacement: Replacement, in arena: Arena) {
        unsafe keys = arena.allocate(entries, repeating: Self.empty)
        unsafe trees = replacement == .plru ? arena.allocate(entries / ways, repeating: 0) : nil
        self.ways = ways
        setMask = UInt64(entries / ways - 1)
    }

    /// Uses a key, which replaces another one where it is not there.
    ///
    /// - Parameter index: what chooses the set, by its lowest bits.
    /// - Returns: whether it was there.
    @inline(__always)
    func touch(_ key: UInt64, at index: UInt64) -> Bool {
        let set = Int(truncatingIfNeeded: index & setMask)
        let row = unsafe keys + set &* ways
        if let trees = unsafe trees { return unsafe touch(key, row, &trees[set]) }
        var carried = unsafe row[0]
        if carried == key { return true }
        unsafe row[0] = key
        var way = 1
        while way < ways {
            let there = unsafe row[way]
            unsafe row[way] = carried
            if there == key { return true }
            carried = there
            way &+= 1
        }
        return false
    }

    /// Bit n of a tree says which half of node n is older; its children are nodes 2n and 2n + 1, and 1 is the root.
    private func touch(_ key: UInt64, _ row: UnsafeMutablePointer<UInt64>, _ tree: inout UInt64) -> Bool {
        var way = 0
        while way < ways, unsafe row[way] != key { way &+= 1 }
        let isThere = way < ways
        if !isThere {
            // An empty way first, as hardware does after a flush.
            way = 0
            while way < ways, unsafe row[way] != Self.empty { way &+= 1 }
            if way == ways {
                var node = 1
                while node < ways { node = node << 1 | Int(truncatingIfNeeded: tree >> UInt64(node) & 1) }
                way = node - ways
            }
            unsafe row[way] = key
        }
        var node = way + ways
        while node > 1 {
            let bit = UInt64(1) << UInt64(node >> 1)
            if node & 1 == 0 { tree |= bit } else { tree &= ~bit }
            node >>= 1
        }
        return isThere
    }

    /// Forgets the keys that a condition names.
    func drop(where isDropped: (UInt64) -> Bool) {
        for set in 0...Int(setMask) {
            let row = unsafe keys + set * ways
            var kept = 0
            for way in 0..<ways {
                let key = unsafe row[way]
                let isKept = key != Self.empty && !isDropped(key)
                if unsafe trees != nil {
                    if !isKept { unsafe row[way] = Self.empty }
                } else if isKept {
                    unsafe row[kept] = key
                    kept += 1
                }
            }
            if unsafe trees == nil { for way in kept..<ways { unsafe row[way] = Self.empty } }
        }
    }
}
