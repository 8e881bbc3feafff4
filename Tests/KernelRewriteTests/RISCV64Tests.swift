// SPDX-License-Identifier: MIT

// The sample kernel for riscv64: what must stay, draw, prove, undo, and what is
// refused. The table that its start reads is followed here without `verify`.

import Addressing
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import KernelRewrite

struct RISCV64Tests {
    private func pages(_ symbol: String, _ analysis: KernelAnalysis, _ image: borrowing KernelImage) throws -> Range<
        Int
    > {
        let start = try address(of: symbol, in: image)
        return analysis.map.pages(of: try #require(analysis.object(at: start)))
    }

    /// Code run with the MMU off, the page tables and the pointer to the table; nothing that lies at a border of theirs.
    @Test func whatStays() throws {
        let image = try KernelImage.open(try Sample.riscv64)
        let analysis = try KernelAnalysis.of(image)
        #expect(analysis.architecture.name == "riscv64")
        let pinned = Set(analysis.pins.flatMap(\.pages))
        var wanted: Set<Int> = []
        for name in [
            "early_level5", "early_level4", "early_level3", "early_level2", "early_level1", "early_satp", "kperm_table",
        ] {
            wanted.formUnion(try pages(name, analysis, image))
        }
        for name in ["start_here", "secondary_start_sbi"] {
            wanted.insert(try #require(analysis.map.page(of: try address(of: name, in: image))))
        }
        #expect(pinned == wanted)
        #expect(analysis.classes.map(\.name) == ["text", "init", "rodata", "data", "bss"])
        #expect(analysis.countedPages == analysis.map.pageCount)
        #expect(analysis.pinnedPages == wanted.count)
    }

    /// Bytes that may differ once the kernel is mapped: what its start stores to, and no more than that.
    @Test func whatTheStartWrites() throws {
        let image = try KernelImage.open(try Sample.riscv64)
        let analysis = try KernelAnalysis.of(image)
        let written = analysis.startWrites(in: image)
        let stored = ["early_level5", "early_level1", "early_satp", "init_thread_union", "boot_hart"]
        for name in stored + ["kperm_table", "harts_up", "filler_data", "filler_text", "filler_init"] {
            let start = try address(of: name, in: image)
            #expect(written.contains { $0.contains(start) } == stored.contains(name), "\(name)")
        }
    }

    @Test(arguments: Encoding.allCases) func provedAndUndone(encoding: Encoding) throws {
        let scratch = try Scratch()
        let original = try KernelImage.open(try Sample.riscv64)
        let bytes = try readBytes(Sample.riscv64)
        var orders: Set<[UInt32]> = []
        for seed in 1...10 {
            let request = Request(encoding: encoding, seedSource: "given")
            let plan = try RewritePlan.draw(original, request, seed: try seedNumber(seed))
            try plan.apply(to: scratch["out"], from: original, tool: "test")
            let permuted = try PermutedImage.open(scratch["out"])
            #expect(try permuted.verify(against: original).findings.isEmpty, "seed \(seed)")
            #expect(10 * plan.movedPages > 8 * plan.analysis.countedPages)
            try permuted.restore(to: scratch["restored"])
            #expect(try readBytes(scratch["restored"]) == bytes, "seed \(seed)")
            orders.insert(plan.permutation.forward)
        }
        #expect(orders.count == 10)
    }

    /// As the start reads it: kperm_table, the 32-bit words 40 bytes behind where it points, frames counted from the
    /// image's first; and there the page's bytes are.
    @Test(arguments: Encoding.allCases) func everyPageLeadsToItsBytes(encoding: Encoding) throws {
        let scratch = try Scratch()
        try permute(Sample.riscv64, to: scratch["out"], Request(encoding: encoding))
        let original = try KernelImage.open(try Sample.riscv64)
        let analysis = try KernelAnalysis.of(original)
        let permuted = try PermutedImage.open(scratch["out"])
        let restored = try permuted.original()
        let file = try readBytes(scratch["out"])
        let memory = try PhysicalMemory(segments: permuted.image.segments, file: "out")
        func bytes(_ physical: UInt64, _ count: Int) throws -> [UInt8] {
            let frame = try #require(memory.frame(at: PhysicalAddress(physical & ~0xfff)))
            let offset = Int(physical & 0xfff)
            let end = min(offset + count, frame.fileBytes)
            let there = offset < end ? Array(file[frame.fileOffset + offset..<frame.fileOffset + end]) : []
            return there + [UInt8](repeating: 0, count: count - there.count)
        }
        let pointer = try address(of: "kperm_table", in: original) - analysis.map.virtualBase
        let table = try bytes(analysis.map.physicalBase.rawValue + pointer, 8).number(0, as: UInt64.self)
        for page in 0..<analysis.map.pageCount {
            let frame = try bytes(table + 40 + UInt64(4 * page), 4).number(0, as: UInt32.self)
            let physical = analysis.map.physicalBase + UInt64(frame) * UInt64(pageSize)
            #expect(permuted.table.physicalAddress(of: analysis.map.virtualBase + UInt64(page * pageSize)) == physical)
            let wanted = permuted.contents(of: page, analysis.map, original: restored)
            #expect(try bytes(physical.rawValue, pageSize) == wanted, "page \(page)")
        }
    }

    /// A table with two entries exchanged and a checksum that fits, a pointer that leads past it, two segments loaded in
    /// each other's place: none is proved.
    @Test func wrongTableIsCaught() throws {
        let scratch = try Scratch()
        try permute(Sample.riscv64, to: scratch["out"], Request(seedSource: "given"))
        let original = try KernelImage.open(try Sample.riscv64)
        let analysis = try KernelAnalysis.of(original)
        let permuted = try PermutedImage.open(scratch["out"])
        let bytes = try readBytes(scratch["out"])
        func findings(_ spoilt: [UInt8]) throws -> [String] {
            try write(spoilt, to: scratch["spoilt"])
            return try PermutedImage.open(scratch["spoilt"]).verify(against: KernelImage.open(Sample.riscv64)).findings
        }
        #expect(try findings(bytes).isEmpty)

        var exchanged = bytes
        let table = Int(permuted.note.tableOffset)
        let size = Int(permuted.note.tableBytes)
        let (a, b) = (3, 17)
        exchanged.swap(table + 40 + 4 * a, table + 40 + 4 * b, bytes: 4)
        let inverse = table + 40 + 4 * permuted.table.pageCount
        let (first, second) = (Int(permuted.table.forward[a]), Int(permuted.table.forward[b]))
        exchanged.swap(inverse + 4 * first, inverse + 4 * second, bytes: 4)
        let sum = unsafe TableLookup.checksum(Array(exchanged[table..<table + size]).span.bytes)
        exchanged.put(sum, at: table + 36)
        #expect(try !findings(exchanged).isEmpty)

        var past = bytes
        let pointer = try #require(analysis.map.fileOffset(of: try address(of: "kperm_table", in: original)))
        past[pointer] += 4
        #expect(try findings(past).contains { $0.contains("the page tables lead elsewhere") })

        var swapped = bytes
        let headers = Int(permuted.image.header.programHeaderOffset)
        let single = permuted.image.segments.indices.filter {
            permuted.image.segments[$0].type == Segment.load && permuted.image.segments[$0].fileSize == 4096
        }
        swapped.swap(headers + 56 * single[5] + 24, headers + 56 * single[9] + 24, bytes: 8)
        #expect(try findings(swapped).contains { $0.contains("differ") })
    }

    @Test func refusals() throws {
        let scratch = try Scratch()
        func refusal(_ path: String) throws -> String {
            let image = try KernelImage.open(path)
            do throws(RewriteError) {
                _ = try RewritePlan.draw(image, Request())
                return "accepted"
            } catch {
                return "\(error)"
            }
        }
        try runTool("llvm-objcopy", "--redefine-sym=kperm_table=other", Sample.riscv64, scratch["unsupported"])
        #expect(try refusal(scratch["unsupported"]).contains("must be built with support for a translation table"))
        try runTool("llvm-objcopy", "--redefine-sym=_start=other", Sample.riscv64, scratch["startless"])
        #expect(try refusal(scratch["startless"]).contains("no symbol _start"))

        let image = try KernelImage.open(try Sample.riscv64)
        let map = try KernelAnalysis.of(image).map
        var bytes = try readBytes(Sample.riscv64)
        bytes[try #require(map.fileOffset(of: try address(of: "kperm_table", in: image)))] = 1
        #expect(try refusal(try write(bytes, to: scratch["filled"])).contains("has a table already"))
        bytes = try readBytes(Sample.riscv64)
        bytes.put(UInt64(0x1000), at: 24)
        #expect(try refusal(try write(bytes, to: scratch["elsewhere"])).contains("lies outside the image"))
        bytes = try readBytes(Sample.riscv64)
        bytes.put(UInt32(0), at: try #require(map.fileOffset(of: map.virtualBase + 16)))
        #expect(try refusal(try write(bytes, to: scratch["undecodable"])).contains("does not decode"))
    }
}
