// SPDX-License-Identifier: MIT

// A proof is worth what it refuses: images that are wrong in one thing, and the
// one byte that a bad disk or a bad tool changes, wherever it lies.

import Addressing
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import KernelRewrite

/// A permuted sample in memory, to be spoilt.
struct Victim {
    let scratch: Scratch
    let bytes: [UInt8]
    let note: KpermNote
    let table: TranslationTable
    let segments: [Segment]
    let programHeaders: Int
    let baked: Segment

    init(_ encoding: Encoding) throws {
        scratch = try Scratch()
        try permute(Sample.path, to: scratch["out"], Request(encoding: encoding, seedSource: "given"))
        bytes = try readBytes(scratch["out"])
        let permuted = try PermutedImage.open(scratch["out"])
        note = permuted.note
        table = permuted.table
        segments = permuted.image.segments
        programHeaders = Int(permuted.image.header.programHeaderOffset)
        baked = try #require(segments.last { $0.type == Segment.load })
    }

    /// What is wrong with a spoilt copy: findings of `verify`, or why it does not open. Empty when nothing is seen.
    func seen(_ spoilt: [UInt8]) throws -> [String] {
        try write(spoilt, to: scratch["spoilt"])
        do throws(RewriteError) {
            let image = try PermutedImage.open(scratch["spoilt"])
            let original = try wrapping(RewriteError.image) { () throws(ImageError) in
                try KernelImage.open((try? Sample.path) ?? "")
            }
            return try image.verify(against: original).findings
        } catch {
            return ["\(error)"]
        }
    }

    /// Two counted pages of one class that are free to move.
    var twoPages: (Int, Int) { (3, 17) }
}

struct WrongImageTests {
    @Test(arguments: Encoding.allCases) func unspoiltIsProved(encoding: Encoding) throws {
        let victim = try Victim(encoding)
        let seen = try victim.seen(victim.bytes)
        #expect(seen.isEmpty)
    }

    /// The plan of a tool that forgot a pin: the page tables would move away under the processor.
    @Test(arguments: Encoding.allCases) func forgottenPin(encoding: Encoding) throws {
        let scratch = try Scratch()
        let image = try KernelImage.open(try Sample.path)
        let analysis = try KernelAnalysis.of(image)
        let early = try #require(analysis.map.page(of: try address(of: "init_top_pgt", in: image)))
        let request = Request(encoding: encoding)
        let problem = try PermutationProblem(
            pageCount: analysis.map.pageCount, classes: analysis.classes,
            pins: analysis.pins.filter { !$0.pages.contains(early) })
        var forward = (0..<UInt32(analysis.map.pageCount)).map { $0 }
        forward.swapAt(early, early + 20)
        let wrong = try Permutation(forward: forward, for: problem)
        try RewritePlan(analysis, image, request, problem, wrong).apply(to: scratch["out"], from: image, tool: "test")
        let findings = try PermutedImage.open(scratch["out"]).verify(against: image).findings
        #expect(
            findings == [
                "the order breaks what the kernel demands: page \(early) is pinned or in no class, yet it moves"
            ])
    }

    /// Each byte range that had to change, put back to what it was.
    @Test(arguments: Encoding.allCases) func forgottenChange(encoding: Encoding) throws {
        let victim = try Victim(encoding)
        let image = try KernelImage.open(try Sample.path)
        let plan = try RewritePlan.replay(image, Request(encoding: encoding), forward: victim.table.forward)
        let layout = try OutputLayout(plan, image, tool: "test")
        #expect(plan.changes.count == 3)
        for change in plan.changes {
            var spoilt = victim.bytes
            let at = layout.place(of: change.fileOffset, in: plan)
            spoilt.replaceSubrange(at..<at + change.before.count, with: change.before)
            let seen = try victim.seen(spoilt)
            let address = try #require(change.address)
            let page = try #require(plan.analysis.map.page(of: address))
            #expect(seen.contains { $0.contains("page \(page) ") || $0.contains("page tables lead elsewhere") })
        }
    }

    @Test(arguments: Encoding.allCases) func tableEntriesSwapped(encoding: Encoding) throws {
        let victim = try Victim(encoding)
        let (a, b) = victim.twoPages
        let start = Int(victim.note.tableOffset)
        var spoilt = victim.bytes
        spoilt.swap(start + 40 + 4 * a, start + 40 + 4 * b, bytes: 4)
        #expect(try victim.seen(spoilt).first?.contains("checksum") == true)

        // With inverse and checksum put right, it is a sound table, but not of this image.
        let pages = victim.table.pageCount
        for page in [a, b] {
            let frame = spoilt.number(start + 40 + 4 * page, as: UInt32.self)
            spoilt.put(UInt32(page), at: start + 40 + 4 * (pages + Int(frame)))
        }
        spoilt.put(UInt32(0), at: start + 36)
        let sum = unsafe TableLookup.checksum(Array(spoilt[start..<start + 40 + 8 * pages]).span.bytes)
        spoilt.put(sum, at: start + 36)
        #expect(
            try victim.seen(spoilt).contains { $0.contains("page \(a) ") && $0.contains("page tables lead elsewhere") })
    }

    @Test(arguments: Encoding.allCases) func pageTableEntriesSwapped(encoding: Encoding) throws {
        let victim = try Victim(encoding)
        let (a, b) = victim.twoPages
        var spoilt = victim.bytes
        spoilt.swap(Int(victim.baked.offset) + 8 * a, Int(victim.baked.offset) + 8 * b, bytes: 8)
        let seen = try victim.seen(spoilt)
        for page in [a, b] { #expect(seen.contains { $0.hasPrefix("page \(page) ") }) }
    }

    /// `p_paddr` decides where a loader puts a page.
    @Test(arguments: Encoding.allCases) func physicalAddressesSwapped(encoding: Encoding) throws {
        let victim = try Victim(encoding)
        let loads = victim.segments.indices.filter { victim.segments[$0].type == Segment.load }
        let (a, b) = (loads[0], loads[1])
        var spoilt = victim.bytes
        spoilt.swap(victim.programHeaders + 56 * a + 24, victim.programHeaders + 56 * b + 24, bytes: 8)
        #expect(try !victim.seen(spoilt).isEmpty)
    }

    /// `contents`: the bytes of two frames swapped, nothing else.
    @Test func framesSwapped() throws {
        let victim = try Victim(.contents)
        let (a, b) = victim.twoPages
        var spoilt = victim.bytes
        let text = Int(victim.segments[0].offset)
        spoilt.swap(text + a * pageSize, text + b * pageSize, bytes: pageSize)
        #expect(try victim.seen(spoilt).count == 2)
    }
}
