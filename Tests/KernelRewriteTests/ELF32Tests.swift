// SPDX-License-Identifier: MIT

// 32-bit kernels: moved, proved, undone, and never taken for ones that boot.

import Addressing
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import KernelRewrite

struct ELF32Tests {
    private static let targets = ["armv7-none-eabi", "riscv32-unknown-elf"]

    @Test(arguments: targets, Encoding.allCases)
    func provedAndUndone(target: String, encoding: Encoding) throws {
        let scratch = try Scratch()
        let path = try linkKernel32(for: target, in: scratch)
        let original = try KernelImage.open(path)
        #expect(try !Architecture.isBootable(original))
        for seed in 1...10 {
            let request = Request(encoding: encoding, seedSource: "given")
            let plan = try RewritePlan.draw(original, request, seed: try seedNumber(seed))
            #expect(plan.movedPages > 40 && plan.changes.isEmpty)
            try plan.apply(to: scratch["out"], from: original, tool: "test")
            let permuted = try PermutedImage.open(scratch["out"])
            #expect(permuted.manifest.unbootable == true)
            let proof = try permuted.verify(against: original)
            #expect(proof.findings.isEmpty, "seed \(seed)")
            #expect(proof.moved == plan.movedPages && permuted.table == plan.table)
            try permuted.restore(to: scratch["restored"])
            #expect(try readBytes(scratch["restored"]) == readBytes(path), "seed \(seed)")
        }
    }

    /// Without `verify`: each page's number stands where the table says, by the program headers alone.
    @Test(arguments: targets, Encoding.allCases)
    func everyPageLeadsToItsNumber(target: String, encoding: Encoding) throws {
        let scratch = try Scratch()
        let original = try KernelImage.open(try linkKernel32(for: target, in: scratch))
        let analysis = try KernelAnalysis.of(original)
        try permute(scratch["vmlinux"], to: scratch["out"], Request(encoding: encoding, seedSource: "given"))
        let permuted = try PermutedImage.open(scratch["out"])
        var seen = 0
        for pageClass in analysis.classes where ["text", "data"].contains(pageClass.name) {
            for page in pageClass.ranges.joined() {
                let address = analysis.map.virtualBase + UInt64(page * pageSize)
                let place = try #require(permuted.table.physicalAddress(of: address))
                let segment = try #require(
                    permuted.image.segments.first {
                        $0.type == Segment.load && $0.physicalAddress <= place
                            && place < $0.physicalAddress + $0.fileSize
                    })
                let offset = Int(segment.offset + (place - segment.physicalAddress))
                let number = permuted.image.file.bytes.load(offset, as: UInt32.self)
                let there = original.file.bytes.load(analysis.map.entries[page].fileOffset, as: UInt32.self)
                #expect(number == there && number >> 12 != 0)
                seen += 1
            }
        }
        #expect(seen == 34)
    }

    @Test func whatStays() throws {
        let scratch = try Scratch()
        let image = try KernelImage.open(try linkKernel32(for: "armv7-none-eabi", in: scratch))
        let analysis = try KernelAnalysis.of(image)
        let reasons = Set(analysis.exclusions.map(\.reason))
        #expect(reasons.contains("several segments share the page"))
        #expect(reasons.contains("two kinds of memory share the page"))
        #expect(analysis.release == "9.8.7-small")
        #expect(analysis.map.entries.count { $0.isShared } == 1)
        #expect(analysis.pins.contains { $0.evidence == "ELF entry" })
        #expect(throws: RewriteError.self) { try KernelAnalysis.ofRunnable(image) }
    }

    @Test(arguments: Encoding.allCases) func spoiltBytesAreFound(encoding: Encoding) throws {
        let scratch = try Scratch()
        let original = try KernelImage.open(try linkKernel32(for: "armv7-none-eabi", in: scratch))
        try permute(scratch["vmlinux"], to: scratch["out"], Request(encoding: encoding, seedSource: "given"))
        let bytes = try readBytes(scratch["out"])
        let table = try #require(bytes.firstRange(of: Array("KPERMTBL".utf8)))
        // A page of text, the page that segments share, an entry of the table.
        for place in [0x10000, 0x40000, table.lowerBound + 40] {
            var spoilt = bytes
            spoilt[place] ^= 1
            try write(spoilt, to: scratch["spoilt"])
            do {
                #expect(try !PermutedImage.open(scratch["spoilt"]).verify(against: original).passed, "\(place)")
            } catch {
                #expect(place == table.lowerBound + 40)
            }
        }
    }

    @Test func withoutBordersNothingIsDone() throws {
        let scratch = try Scratch()
        try linkKernel32(for: "armv7-none-eabi", in: scratch)
        try runTool("llvm-objcopy", "--strip-symbol=_etext", scratch["vmlinux"], scratch["lacks"])
        let image = try KernelImage.open(scratch["lacks"])
        #expect {
            try KernelAnalysis.of(image)
        } throws: { error in
            "\(error)".contains("the kernel has no symbol _etext, which is needed to find the text pages")
        }
    }
}
