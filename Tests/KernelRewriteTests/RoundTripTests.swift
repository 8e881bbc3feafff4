// SPDX-License-Identifier: MIT

// Draw, apply, prove, undo: for both encodings, every granule and many seeds.

import Addressing
import KernelImage
import PagePermutation
import SecureRandom
import TestSupport
import Testing

@testable import KernelRewrite

/// A permuted copy of an image.
func permute(
    _ path: String, to output: String, _ request: Request = Request(seedSource: "given"), seed: Int = 1
) throws {
    let image = try KernelImage.open(path)
    try RewritePlan.draw(image, request, seed: try seedNumber(seed)).apply(to: output, from: image, tool: "test")
}

func seedNumber(_ number: Int) throws -> Seed {
    let digits = String(number, radix: 16)
    return try Seed.parse(hexadecimal: String(repeating: "0", count: 64 - digits.count) + digits)
}

struct RoundTripTests {
    @Test(arguments: Encoding.allCases, Granule.allCases)
    func provedAndUndone(encoding: Encoding, granule: Granule) throws {
        let scratch = try Scratch()
        let original = try KernelImage.open(try Sample.path)
        let bytes = try readBytes(Sample.path)
        var orders: Set<[UInt32]> = []
        for seed in 1...30 {
            let request = Request(encoding: encoding, granule: granule, seedSource: "given")
            let plan = try RewritePlan.draw(original, request, seed: try seedNumber(seed))
            try plan.apply(to: scratch["out"], from: original, tool: "test")
            let permuted = try PermutedImage.open(scratch["out"])
            let proof = try permuted.verify(against: original)
            #expect(proof.findings.isEmpty, "seed \(seed)")
            #expect(proof.moved == plan.movedPages)
            #expect(permuted.table == plan.table)
            try permuted.restore(to: scratch["restored"])
            #expect(try readBytes(scratch["restored"]) == bytes, "seed \(seed)")
            orders.insert(plan.permutation.forward)
        }
        // The sample's classes are smaller than a large page: nothing of that size can trade places.
        #expect(granule == .page2M ? orders.count == 1 : orders.count > 1)
        #expect(try scratch.files == ["out", "restored"])
    }

    @Test(arguments: Encoding.allCases)
    func sameSeedSameBytes(encoding: Encoding) throws {
        let scratch = try Scratch()
        let request = Request(encoding: encoding, seedSource: "given")
        try permute(Sample.path, to: scratch["a"], request, seed: 7)
        try permute(Sample.path, to: scratch["b"], request, seed: 7)
        try permute(Sample.path, to: scratch["c"], request, seed: 8)
        #expect(try readBytes(scratch["a"]) == readBytes(scratch["b"]))
        #expect(try readBytes(scratch["a"]) != readBytes(scratch["c"]))
    }

    /// The page tables, the translation table and the program headers of a permuted file tell one story, and it ends at
    /// the original's bytes; checked here without `verify`.
    @Test(arguments: Encoding.allCases)
    func everyPageLeadsToItsBytes(encoding: Encoding) throws {
        let scratch = try Scratch()
        try permute(Sample.path, to: scratch["out"], Request(encoding: encoding))
        let original = try KernelImage.open(try Sample.path)
        let analysis = try KernelAnalysis.of(original)
        let permuted = try PermutedImage.open(scratch["out"])
        let restored = try permuted.original()
        let file = try readBytes(scratch["out"])
        let memory = try PhysicalMemory(segments: permuted.image.segments, file: "out")
        for page in 0..<analysis.map.pageCount {
            let address = analysis.map.virtualBase + UInt64(page * pageSize + 8)
            let physical = permuted.image.file.bytes
            let walked = analysis.architecture.walk(analysis, address, memory, physical)
            #expect(walked == permuted.table.physicalAddress(of: address))
            guard !analysis.map.entries[page].isGap, let walked else { continue }
            let frame = try #require(memory.frame(at: PhysicalAddress(walked.rawValue - 8)))
            var bytes = frame.fileBytes > 0 ? Array(file[frame.fileOffset..<frame.fileOffset + frame.fileBytes]) : []
            bytes += [UInt8](repeating: 0, count: pageSize - bytes.count)
            #expect(bytes == permuted.contents(of: page, analysis.map, original: restored), "page \(page)")
        }
    }

    /// What the user asks for holds, and is kept in the file for the next draw.
    @Test func pinsAndGlueHold() throws {
        let scratch = try Scratch()
        let pin = Pin(pages: 5..<8, reason: "asked for", evidence: "--pin")
        let glue = Glue(pages: 530..<534, reason: "--glue")
        let request = Request(pins: [pin], glue: [glue])
        for seed in 1...30 {
            try permute(Sample.path, to: scratch["out"], request, seed: seed)
            let permuted = try PermutedImage.open(scratch["out"])
            #expect(permuted.table.forward[5..<8].elementsEqual([5, 6, 7]))
            for page in 531..<534 { #expect(permuted.table.forward[page] == permuted.table.forward[page - 1] + 1) }
            #expect(try permuted.freshRequest().pins == [pin])
            #expect(try permuted.freshRequest().glue == [glue])
            let proof = try permuted.verify(against: try KernelImage.open(try Sample.path))
            #expect(proof.passed)
        }
    }

    @Test func changesCarryReasonAndEvidence() throws {
        let image = try KernelImage.open(try Sample.path)
        let plan = try RewritePlan.draw(image, Request(), seed: try seedNumber(1))
        let bytes = try readBytes(Sample.path)
        #expect(plan.changes.count == 3)
        for change in plan.changes {
            #expect(!change.reason.isEmpty && !change.evidence.isEmpty)
            #expect(change.before.count == change.after.count && change.before != change.after)
            #expect(Array(bytes[change.fileOffset..<change.fileOffset + change.before.count]) == change.before)
        }
    }
}
