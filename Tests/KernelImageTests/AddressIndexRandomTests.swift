// SPDX-License-Identifier: MIT

// The index by page against a search through all symbols, over random tables: sizes of nothing, of less than a page, up
// to a page's border, and over many pages.

import Addressing
import Testing

@testable import KernelImage

struct AddressIndexRandomTests {
    private static let base: UInt64 = 0xffff_ffff_8100_0000

    @Test(arguments: 0..<UInt64(40))
    func sameAsASearch(number: UInt64) {
        var random = SplitMix(state: number)
        // Not whole pages, now and then.
        let size = UInt64.random(in: 1...80, using: &random) << 12 + (number % 4 == 0 ? 0x123 : 0)
        let symbols = (0..<Int.random(in: 0...120, using: &random)).map { i -> Symbol in
            var value = Self.base &- 0x2000 &+ UInt64.random(in: 0..<size + 0x4000, using: &random)
            if Bool.random(using: &random) { value &= ~0xfff }
            let length: UInt64
            switch Int.random(in: 0..<6, using: &random) {
            case 0: length = 0
            case 1: length = UInt64.random(in: 1...64, using: &random)
            case 2: length = 0x1000 - value & 0xfff  // up to the page's end
            case 3: length = UInt64.random(in: 1...3, using: &random) << 12
            case 4: length = UInt64.random(in: 15...18, using: &random) << 12 + UInt64.random(in: 0...1, using: &random)
            default: length = UInt64.random(in: 1...UInt64(UInt32.max), using: &random)  // not over the end of memory
            }
            let kinds: [Symbol.Kind] = [.none, .object, .function, .function, .section, .file, .other]
            return Symbol(
                value: VirtualAddress(value), byteCount: UInt32(min(length, ~value)), nameOffset: 0, index: UInt32(i),
                section: 1, kind: kinds.randomElement(using: &random)!)
        }
        let range = VirtualAddress(Self.base)..<VirtualAddress(Self.base + size)
        let index = AddressIndex(symbols, range)
        let listed = symbols.filter { range.contains($0.value) && $0.kind != .section && $0.kind != .file }
        let edges = symbols.flatMap { [$0.value.rawValue, $0.value.rawValue &+ $0.size] }
        let pages = (0...size >> 12).map { Self.base + $0 << 12 }
        let places = Set(
            (edges + pages + [Self.base + size]).flatMap { [$0 &- 1, $0, $0 &+ 1] }
                + (0..<200).map { _ in Self.base + UInt64.random(in: 0..<size, using: &random) }
        ).filter { $0 >= Self.base && $0 < Self.base + size }.sorted()
        var wrong: [String] = []
        for place in places {
            let address = VirtualAddress(place)
            let covering = listed.filter { $0.value == address || ($0.value < address && address < $0.end) }
                .sorted { ($0.size &- 1, $0.index) < ($1.size &- 1, $1.index) }
            if index.covering(address) != covering { wrong.append("covering \(address)") }
            let next = listed.map(\.value).filter { $0 > address }.min()
            if index.next(after: address) != next { wrong.append("next after \(address)") }
            let before = listed.map(\.end).filter { $0 <= address }.max() ?? range.lowerBound
            let gap = before..<max(next ?? address, address + 1)
            if index.gap(around: address) != gap { wrong.append("gap around \(address)") }
            let end = address + UInt64.random(in: 1...0x5000, using: &random)
            let begins = listed.contains { $0.size > 0 && address <= $0.value && $0.value < end }
            if index.begins(in: address..<end) != begins { wrong.append("begins in \(address) ..< \(end)") }
        }
        #expect(wrong == [], "case \(number)")
    }
}

/// SplitMix64.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
