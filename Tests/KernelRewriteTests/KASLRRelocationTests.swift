// SPDX-License-Identifier: MIT

// KASLR's relocations and the permutation together. The decompressor relocates a
// linear image and the boot stub moves its pages afterwards, so a word that
// straddles two pages is whole when it is relocated and torn apart later. The
// reference here goes the other way, byte by byte through the order of the pages.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import Testing

@testable import KernelRewrite

struct KASLRRelocationTests {
    /// Five pages, and lists of words in them, with those that straddle pages; 64-bit, inverse, 32-bit.
    private static let lists: [[UInt64]] = [
        [0x10, 0xff9, 0x1ffc, 0x4ff8], [0x204, 0x1800, 0x2ffd], [0x300, 0xfd8, 0x3fff, 0x4ff0],
    ]

    private static func kernel() throws -> (relocations: KASLRRelocations, memory: [UInt8]) {
        let kernel = try SmallKernel(
            """
            FUNCTION(start): ret
            END(start)
            .fill 0x4fff, 1, 0x5a
            .section .other, "aw"
            .data
            .quad 1
            .globl _end
            """)
        var unpacked = contents(kernel.image)
        for list in lists {
            for word in [0] + list.map({ UInt32(truncatingIfNeeded: SmallKernel.virtualBase + $0) }) {
                let at = unpacked.count
                unpacked += [0, 0, 0, 0]
                unpacked.put(word, at: at)
            }
        }
        let relocations = try KASLRRelocations(unpacked, file: "small")
        return (relocations, (0..<0x5000).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ $0 >> 7) })
    }

    static let slides: [UInt64] = [0x20_0000, 0x3ee0_0000, 0 &- 0x20_0000, 0 &- 0x7f00_0000, 0x0123_4567_89ab_cdef]

    @Test(arguments: slides) func everyKindOfWord(slide: UInt64) throws {
        let (relocations, linear) = try Self.kernel()
        var moved = linear
        relocations.apply(slide, to: &moved, linkedAt: VirtualAddress(SmallKernel.virtualBase))
        var expected = linear
        for word in Self.lists[0] {
            expected.put(linear.number(Int(word), as: UInt64.self) &+ slide, at: Int(word))
        }
        let low = UInt32(truncatingIfNeeded: slide)
        for word in Self.lists[1] { expected.put(linear.number(Int(word), as: UInt32.self) &- low, at: Int(word)) }
        for word in Self.lists[2] { expected.put(linear.number(Int(word), as: UInt32.self) &+ low, at: Int(word)) }
        #expect(moved == expected)
        #expect(moved != linear)
        relocations.apply(0 &- slide, to: &moved, linkedAt: VirtualAddress(SmallKernel.virtualBase))
        #expect(moved == linear)
    }

    @Test(arguments: slides) func wordsAcrossPages(slide: UInt64) throws {
        let (relocations, linear) = try Self.kernel()
        #expect(straddling(relocations, VirtualAddress(SmallKernel.virtualBase)) == 4)
        try compare(relocations, linear, VirtualAddress(SmallKernel.virtualBase), slide, order: [2, 4, 1, 0, 3])
    }

    /// A word is touched by a range that has one of its bytes, and by no other.
    @Test func findsTheWordThatAChangeCovers() throws {
        let (relocations, _) = try Self.kernel()
        let base = VirtualAddress(SmallKernel.virtualBase)
        for (list, size) in zip(Self.lists, [8, 4, 4] as [UInt64]) {
            for word in list {
                let address = base + word
                for range in [
                    address..<address + 1, address + (size - 1)..<address + (size + 9), address..<address + size,
                    VirtualAddress(address.rawValue - 3)..<address + 1,
                ] { #expect(relocations.words(in: range).contains(address), "\(word.hex)") }
                #expect(relocations.words(in: VirtualAddress(address.rawValue - 3)..<address).isEmpty, "\(word.hex)")
                #expect(relocations.words(in: address + size..<address + (size + 3)).isEmpty, "\(word.hex)")
            }
        }
    }
}

/// The same on a kernel with two hundred thousand of them.
@Suite(.serialized, .enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set"))
struct KASLRRelocationKernelTests {
    @Test(arguments: [0x1e20_0000, 0 &- 0x60_0000] as [UInt64]) func wordsAcrossPages(slide: UInt64) throws {
        let made = try DebianVmlinuz.made(.build)
        let kernel = try CompressedKernel.open(made.original)
        let map = made.plan.analysis.map
        var memory: [UInt8] = []
        for page in 0..<map.pageCount { memory += map.contents(of: page, in: kernel.kernel) }
        #expect((20...500).contains(straddling(kernel.relocations, map.virtualBase)), "64 in 6.1")
        let order = try #require(made.plan.permutation).forward
        try compare(kernel.relocations, memory, map.virtualBase, slide, order: order)
    }

    /// What a plan changes must not be relocated: not even in part.
    @Test func refusesChangeOfRelocatedWord() throws {
        let kernel = try CompressedKernel.open(try DebianVmlinuz.made(.build).original)
        let all = kernel.relocations
        let words = [(all.words32, 4), (all.inverse32, 4), (all.words64, 8)].compactMap { list, size in
            list.isEmpty ? nil : (list[list.count / 2], UInt64(size))
        }
        func change(_ address: VirtualAddress, _ count: Int) -> Change {
            Change(
                fileOffset: 0x1000, address: address, before: [UInt8](repeating: 0, count: count),
                after: [UInt8](repeating: 1, count: count), reason: "a test", evidence: "")
        }
        for (word, size) in words {
            for place in [word, word + (size - 1)] {
                let said = refusal { () throws(RewriteError) in _ = try kernel.unpacked(with: [change(place, 1)]) }
                #expect(
                    said?.hasSuffix(
                        ": KASLR relocates the word at \(word), where kperm would change the kernel (a test)") == true)
            }
        }
        // A change that covers none is made, and nothing but it.
        let free = try #require(words.first).0
        let clear = sequence(first: free, next: { $0 + 4 }).first { all.words(in: $0..<$0 + 2).isEmpty }
        let bytes = try kernel.unpacked(with: [change(try #require(clear), 2)])
        #expect(bytes[0x1000..<0x1002] == [1, 1])
        var original = try kernel.container.decode()
        original.replaceSubrange(0x1000..<0x1002, with: [1, 1])
        #expect(bytes == original)

        // Nor is a word in the way that goes elsewhere.
        let (word, place) = (free, try #require(clear))
        let moved = try kernel.unpacked(with: [change(word, 4)] + all.changes(moving: [word: place]))
        let after = try KASLRRelocations(moved, file: "moved")
        #expect(after.words(in: word..<word + 1).isEmpty && after.words(in: place..<place + 1).contains(place))
        #expect(Set(after.words32) == Set(all.words32).subtracting([word]).union([place]))
        #expect(after.words64 == all.words64 && after.inverse32 == all.inverse32)
    }
}

private func contents(_ image: borrowing KernelImage) -> [UInt8] {
    (0..<image.file.byteCount).map { image.file.bytes.load($0, as: UInt8.self) }
}

/// Every word with its size and what is added to it.
private func words(_ relocations: KASLRRelocations, _ slide: UInt64) -> [(VirtualAddress, Int, UInt64)] {
    relocations.words32.map { ($0, 4, slide) } + relocations.inverse32.map { ($0, 4, 0 &- slide) }
        + relocations.words64.map { ($0, 8, slide) }
}

/// How many words lie in two pages.
private func straddling(_ relocations: KASLRRelocations, _ base: VirtualAddress) -> Int {
    words(relocations, 0).count { word, size, _ in Int(word - base) % 4096 > 4096 - size }
}

/// Relocated and then moved, against moved and then relocated through the order.
private func compare(
    _ relocations: KASLRRelocations, _ linear: [UInt8], _ base: VirtualAddress, _ slide: UInt64, order: [UInt32]
) throws {
    func permuted(_ memory: [UInt8]) -> [UInt8] {
        var frames = memory
        for (page, frame) in order.enumerated() where page != Int(frame) {
            frames.replaceSubrange(
                Int(frame) * 4096..<(Int(frame) + 1) * 4096, with: memory[page * 4096..<(page + 1) * 4096])
        }
        return frames
    }
    var relocated = linear
    relocations.apply(slide, to: &relocated, linkedAt: base)
    let wanted = permuted(relocated)

    var frames = permuted(linear)
    var pageByPage = frames
    for (word, size, difference) in words(relocations, slide) {
        var carry = 0
        for i in 0..<size {
            let at = Int(word - base) + i
            let place = Int(order[at / 4096]) * 4096 + at % 4096
            let sum = Int(frames[place]) + Int(difference >> (8 * i) & 255) + carry
            frames[place] = UInt8(sum & 255)
            carry = sum >> 8
            // Who looks at one page at a time takes the next frame for the next page.
            if Int(word - base) % 4096 <= 4096 - size { pageByPage[place] = frames[place] }
        }
    }
    #expect(frames == wanted)
    #expect(pageByPage != wanted)
}
