// SPDX-License-Identifier: MIT

// One bit flipped in each of three hundred places of a permuted file, some in
// every region that the file has: every flip must be seen.

import KernelImage
import Testing

@testable import KernelRewrite

struct OneByteTests {
    /// Small and deterministic: the same places each time.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    /// The one exception: the tool's version in the manifest is hearsay, and a proof takes any.
    private func isHearsay(_ offset: Int, _ victim: Victim) -> Bool {
        let text = String(decoding: victim.bytes[Int(victim.note.manifestOffset)...], as: UTF8.self)
        guard let range = text.firstRange(of: "\"tool\":\"test\"") else { return false }
        let start = Int(victim.note.manifestOffset) + text.utf8.distance(from: text.startIndex, to: range.lowerBound)
        return (start..<start + 13).contains(offset)
    }

    @Test(arguments: Encoding.allCases) func everyFlipIsSeen(encoding: Encoding) throws {
        let victim = try Victim(encoding)
        let start = Int(victim.baked.offset)
        let headers = victim.programHeaders
        let regions = [
            "ELF header": 0..<64, "original program headers": 64..<64 + 4 * 56,
            "pages": 0x1000..<0xa5000, "sections": 0xa5000..<Int(victim.note.originalBytes),
            "page tables": start..<Int(victim.note.tableOffset),
            "table": Int(victim.note.tableOffset)..<Int(victim.note.tableOffset + victim.note.tableBytes),
            "memory behind": start..<start + Int(victim.baked.fileSize),
            "note": start + Int(victim.baked.fileSize)..<headers,
            "program headers": headers..<headers + 56 * victim.segments.count,
            "manifest": Int(victim.note.manifestOffset)..<Int(victim.note.manifestOffset + victim.note.manifestBytes),
            "anywhere": 0..<victim.bytes.count,
        ]
        var generator = Generator(state: 1)
        for (name, region) in regions.sorted(by: { $0.key < $1.key }) {
            for _ in 0..<28 {
                let offset = Int.random(in: region, using: &generator)
                let bit = UInt8(1) << UInt8.random(in: 0..<8, using: &generator)
                if isHearsay(offset, victim) { continue }
                var spoilt = victim.bytes
                spoilt[offset] ^= bit
                let seen = try victim.seen(spoilt)
                #expect(!seen.isEmpty, "bit \(bit) of byte \(offset) (\(name), byte \(offset - region.lowerBound))")
                #expect(!seen.joined().contains("\n"))
            }
        }
    }

    /// Cut off anywhere, it does not open, or is not proved.
    @Test(arguments: Encoding.allCases) func everyCutIsSeen(encoding: Encoding) throws {
        let victim = try Victim(encoding)
        var generator = Generator(state: 3)
        for _ in 0..<60 {
            let seen = try victim.seen(
                Array(victim.bytes.prefix(Int.random(in: 0..<victim.bytes.count, using: &generator))))
            #expect(!seen.isEmpty)
        }
    }
}
