// SPDX-License-Identifier: MIT

// A flat riscv64 Image: permuted, proved and undone, its tables followed here as
// its kernel does; and what is not believed.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import SecureRandom
import TestSupport
import Testing

@testable import KernelRewrite

struct FlatImageTests {
    private func flat(_ sample: FlatSample = FlatSample()) throws(RewriteError) -> FlatImage {
        try FlatImage("Image", sample.bytes)
    }

    private func baked(_ seed: Int, crossClass: Bool) throws -> FlatImage {
        let image = try flat()
        let order = try Permutation.draw(try image.problem(crossClass: crossClass), seed: seedNumber(seed))
        return try FlatImage("Image.kperm", try image.baked(order, crossClass: crossClass))
    }

    /// The number that a table has for a page or a frame: a difference in bytes.
    private func target(_ bytes: [UInt8], _ table: Int, _ from: Int) -> Int {
        from + Int(Int32(truncatingIfNeeded: bytes.word(table + 4 * from))) / pageSize
    }

    @Test(arguments: [false, true]) func everyPageLeadsToItsBytesAndBack(crossClass: Bool) throws {
        let original = FlatSample().bytes
        let inverse = FlatSample.forward + 4 * FlatSample().capacity
        var orders: Set<[Int]> = []
        var leavers = 0
        for seed in 1...20 {
            let out = try baked(seed, crossClass: crossClass)
            var order: [Int] = []
            for page in 0..<FlatSample.pages {
                let frame = target(out.bytes, FlatSample.forward, page)
                #expect(target(out.bytes, inverse, frame) == page, "seed \(seed)")
                order.append(frame)
                let home = FlatSample.classes.first { $0.pages.contains(page) }
                if home == nil { #expect(frame == page, "pinned, seed \(seed)") }
                if let home, !home.pages.contains(frame) { leavers += 1 }
                func shown(_ bytes: [UInt8], _ page: Int) -> [UInt8] {
                    let stored = bytes[min(page * pageSize, bytes.count)..<min((page + 1) * pageSize, bytes.count)]
                    return stored + [UInt8](repeating: 0, count: pageSize - stored.count)
                }
                if page != 13, page != 14 {
                    #expect(shown(out.bytes, frame) == shown(original, page), "page \(page), seed \(seed)")
                }
            }
            orders.insert(order)
            #expect(out.bytes.count == (crossClass ? FlatSample.pages : FlatSample.stored) * pageSize)
        }
        #expect(orders.count == 20)
        #expect((leavers > 0) == crossClass)
    }

    @Test(arguments: [false, true]) func provedAndUndone(crossClass: Bool) throws {
        let original = try flat()
        for seed in 1...20 {
            let out = try baked(seed, crossClass: crossClass)
            let proof = try out.verify(against: original)
            #expect(proof.findings.isEmpty && proof.moved > 0, "seed \(seed)")
            #expect(try out.restored() == original.bytes, "seed \(seed)")
            #expect(
                try out.pages(out.permutation()).enumerated().allSatisfy { page, bytes in
                    (13...14).contains(page) || bytes == (try? original.pages(original.permutation())[page])
                })
        }
        let drawn = try FlatImage("drawn", try original.drawingAtBoot(crossClass: crossClass))
        let changed = drawn.bytes.indices.filter { drawn.bytes[$0] != original.bytes[$0] }
        #expect(changed.allSatisfy { (FlatSample.descriptor + 0x3c..<FlatSample.descriptor + 0x64).contains($0) })
        #expect(drawn.mode == .drawnAtBoot && drawn.isCrossClass == crossClass)
        #expect(try drawn.verify(against: original).findings.isEmpty)
        #expect(try drawn.restored() == original.bytes)
    }

    @Test func sameSeedSameOrder() throws {
        #expect(try baked(7, crossClass: false).bytes == baked(7, crossClass: false).bytes)
    }

    /// Whatever byte differs but for those of the tables and the descriptor, verify finds it, in whichever page.
    @Test func oneByteIsFound() throws {
        let original = try flat()
        let out = try baked(3, crossClass: true)
        var random = TestRandom()
        for _ in 0..<40 {
            let page =
                (0..<FlatSample.pages).filter { $0 != 13 && $0 != 14 && $0 != 0 }.randomElement(using: &random) ?? 1
            let at = page * pageSize + Int.random(in: 0..<pageSize, using: &random)
            var bytes = out.bytes
            bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            let findings = try FlatImage("spoilt", bytes).verify(against: original).findings
            #expect(findings.count == 1, TestRandom.comment("byte \(at)"))
        }
    }

    /// Two pages exchanged in both tables, and the bytes not; then in one table; then the count of those that moved.
    @Test func wrongTablesAreFound() throws {
        let original = try flat()
        let out = try baked(3, crossClass: false)
        let inverse = FlatSample.forward + 4 * out.capacity
        func exchange(_ bytes: inout [UInt8], both: Bool) {
            let (a, b) = (15, 16)
            let (x, y) = (target(bytes, FlatSample.forward, a), target(bytes, FlatSample.forward, b))
            bytes.put(Int32((y - a) * pageSize), at: FlatSample.forward + 4 * a)
            bytes.put(Int32((x - b) * pageSize), at: FlatSample.forward + 4 * b)
            if both {
                bytes.put(Int32((a - y) * pageSize), at: inverse + 4 * y)
                bytes.put(Int32((b - x) * pageSize), at: inverse + 4 * x)
            }
        }
        var bytes = out.bytes
        exchange(&bytes, both: true)
        #expect(try FlatImage("spoilt", bytes).verify(against: original).findings.contains { $0.contains("page 15") })
        bytes = out.bytes
        exchange(&bytes, both: false)
        #expect(
            try FlatImage("spoilt", bytes).verify(against: original).findings.contains { $0.contains("frame and back") }
        )
        bytes = out.bytes
        bytes.put(UInt32(1), at: FlatSample.descriptor + 0x44)
        #expect(
            try FlatImage("spoilt", bytes).verify(against: original).findings.contains {
                $0.contains("descriptor says 1")
            })
        bytes = out.bytes
        bytes.put(Int32(pageSize), at: FlatSample.forward + 4 * FlatSample.pages)
        #expect(throws: RewriteError.self) { try FlatImage("spoilt", bytes).permutation() }
    }

    /// An order across classes in an image that says it has none such.
    @Test func leavingAClassIsFound() throws {
        let original = try flat()
        var bytes = try baked(3, crossClass: true).bytes
        bytes.put(UInt32(0), at: FlatSample.descriptor + 0x40)
        let findings = try FlatImage("spoilt", bytes).verify(against: original).findings
        #expect(findings.contains { $0.contains("class") })
    }

    @Test func whatTheKernelChanges() throws {
        let image = try flat()
        let start = VirtualAddress(FlatSample.virtualBase)
        func has(_ ranges: [Range<VirtualAddress>], _ offset: Int) -> Bool {
            ranges.contains { $0.contains(start + UInt64(offset)) }
        }
        let sites = image.patchSites(in: image.pages(try image.permutation()))
        #expect(image.started == start + 3 * 4096)
        let function = 4 * pageSize + 8
        for (offset, isPatched) in [(-1, false), (0, true), (7, true), (8, false)] {
            #expect(has(sites, function + offset) == isPatched, "\(offset)")
        }
        #expect(has(sites, 19 * pageSize) && !has(sites, 19 * pageSize + 32) && !has(sites, 20 * pageSize + 16))
        #expect(has(image.startWrites, 20 * pageSize + 16) && !has(image.startWrites, 19 * pageSize))
        #expect(has(sites, FlatSample.forward) && !has(sites, FlatSample.descriptor))
    }

    private func refusal(_ change: (inout FlatSample) -> Void) -> String {
        var sample = FlatSample()
        change(&sample)
        do throws(RewriteError) {
            _ = try flat(sample)
            return "accepted"
        } catch {
            return "\(error)"
        }
    }

    @Test func refusals() throws {
        let place = FlatSample.descriptor
        #expect(refusal { _ in } == "accepted")
        #expect(refusal { $0.bytes[place] = 0 }.contains("no descriptor of permutable pages: build it with"))
        #expect(refusal { $0.put(UInt32(2), at: place + 8) }.contains("not one that kperm knows"))
        #expect(refusal { $0.put(UInt32(9), at: place + 0x3c) }.contains("unknown mode 9"))
        #expect(refusal { $0.put(UInt64(4096), at: 0x10) }.contains("by the Image's own header"))
        #expect(refusal { $0.put(UInt32(32), at: place + 0x20) }.contains("32 entries is too small for 32 pages"))
        #expect(refusal { $0.bytes.removeLast(11 * 4096) }.contains("no descriptor"), "truncated before it")
        #expect(refusal { $0.bytes.removeLast(9 * 4096 + 4000) }.contains("a table lies outside the file"))
        #expect(refusal { $0.put(UInt32(100), at: place + 0x30) }.contains("a list lies outside the file"))
        #expect(refusal { $0.put(UInt32(1 << 30), at: place + 0x100 + 28) }.contains("ends before it begins"))
        #expect(refusal { $0.put(UInt32(16 * 4096), at: place + 0x24) }.contains("page 16, which the kernel reads"))
        #expect(
            refusal { sample in
                sample.bytes.replaceSubrange(15 * 4096..<16 * 4096, with: sample.bytes[place..<place + 4096])
                sample.put(UInt32(15 * 4096), at: 15 * 4096 + 0x10)
            }.contains("2 descriptors"))
        let image = try flat()
        let out = try baked(1, crossClass: false)
        #expect(throws: RewriteError.self) { try out.drawingAtBoot(crossClass: false) }
        #expect(throws: RewriteError.self) { try image.restored() }
        #expect(throws: RewriteError.self) { try image.verify(against: image) }
        let cut = try FlatImage("cut", Array(out.bytes.dropLast(5000)))
        #expect(throws: RewriteError.self) { try cut.restored() }
        #expect(try !cut.verify(against: image).findings.isEmpty)
    }

    /// Damage of any kind ends in an error or in an image that can be handled, never in a crash.
    @Test func damageIsNoCrash() throws {
        var random = TestRandom()
        let samples = [FlatSample().bytes, try baked(5, crossClass: false).bytes, try baked(5, crossClass: true).bytes]
        for round in 0..<600 {
            var bytes = samples[round % 3]
            for _ in 0...Int.random(in: 0...3, using: &random) {
                let at = FlatSample.descriptor + Int.random(in: 0..<0x480, using: &random) & ~3
                bytes.put(
                    UInt32.random(in: 0 ... .max, using: &random) >> UInt32.random(in: 0..<32, using: &random), at: at)
            }
            if round % 5 == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
            guard let image = try? FlatImage("damaged", bytes) else { continue }
            _ = try? image.restored()
            if let order = try? image.permutation() { _ = image.patchSites(in: image.pages(order)) }
            if let original = try? flat() { _ = try? image.verify(against: original) }
            if let order = try? image.draw(from: seedNumber(1)) {
                _ = try? image.baked(order, crossClass: image.isCrossClass)
            }
        }
    }
}
