// SPDX-License-Identifier: MIT

// kperm simulate run on traces made here, with the table of a permuted image and
// without, and what it refuses.

import Addressing
import Foundation
import Testing
import TranslationSimulator

struct SimulateRunTests {
    private struct Report: Decodable {
        struct Trace: Decodable {
            let warmUpReferences: Int
            let references: Int
            let systemCalls: Int
            let siteExecutions: Int
            let sites: [Site]
        }
        struct Site: Decodable {
            let address: String
            let executions: Int
        }
        struct Rates: Decodable {
            let imageWalks: Double
            let walkReferences: Double
            let cache2Misses: Double?
        }
        struct Granule: Decodable {
            let granule: String
            let order: String
            let mapped: [String: Int]
            let per1000Instructions: Rates
            let estimatedSlowdownPercent: Double?
        }
        struct Model: Decodable {
            let model: String
            let caches: Bool
            let granules: [Granule]
            let assumptions: [String]
        }
        let trace: Trace
        let assumptions: [String]
        let models: [Model]
    }

    private func report(_ place: Workplace, _ options: String...) async throws -> Report {
        let outcome = try await place.kperm(["simulate", "run", "trace", "--json"] + options)
        try #require(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
        return try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
    }

    private func synthetic() async throws -> Workplace {
        let place = try Workplace()
        var workload = SyntheticWorkload(seed: 3)
        var writer = try TraceWriter(place["trace"], workload.header)
        try workload.write(40_000, to: &writer)
        return place
    }

    @Test func granulesInOnePass() async throws {
        let place = try await synthetic()
        let report = try await report(place, "--model", "all")
        #expect(report.trace.references > 35_000 && report.trace.systemCalls > 0)
        #expect(report.models.map(\.model) == ["skylake", "zen3", "n1", "u74"])
        for model in report.models {
            #expect(model.caches && model.granules.map(\.granule) == ["2M", "64K", "16K", "4K"], "\(model.model)")
            #expect(model.granules.map(\.order) == ["linear", "drawn", "drawn", "drawn"])
            #expect(model.granules[0].estimatedSlowdownPercent == nil)
            let slowdowns = model.granules.compactMap(\.estimatedSlowdownPercent)
            #expect(slowdowns.count == 3 && slowdowns.allSatisfy { $0 > 0 }, "\(model.model)")
            #expect(!model.assumptions.isEmpty)
        }
        func walks(_ model: Int) -> [Double] { report.models[model].granules.map(\.per1000Instructions.imageWalks) }
        // Who cannot take several pages as one gains nothing by larger pieces; Zen 3 by 16K, N1 by 64K, too.
        #expect(walks(0)[1] == walks(0)[3] && walks(3)[1] == walks(3)[3])
        #expect(walks(1)[1] == walks(1)[2] && walks(1)[2] < walks(1)[3])
        #expect(walks(2)[1] < walks(2)[2] && walks(2)[2] < walks(2)[3])
        #expect(report.models[2].granules[1].mapped["64K", default: 0] > 8000)
    }

    /// Executions of translation sites, by site; those never executed are left out.
    @Test func sites() async throws {
        let place = try Workplace()
        let base = VirtualAddress(0xffff_ffff_8100_0000)
        var header = TraceHeader(virtualBase: base, imageBytes: 8192, workload: "sites")
        header.sites = [base + 1, base + 2, base + 3]
        var writer = try TraceWriter(place["trace"], header)
        for site in [2, 0, 2] {
            try writer.fetch(base, instructions: 5)
            try writer.event(.site(site))
        }
        try writer.finish()
        let trace = try await report(place).trace
        #expect(trace.siteExecutions == 3 && trace.sites.map(\.executions) == [1, 2])
        #expect(trace.sites.map(\.address) == ["0xffffffff81000001", "0xffffffff81000003"])
    }

    @Test func runIsTheDefault() async throws {
        let place = try await synthetic()
        let outcome = try await place.kperm("simulate", "trace", "--granules", "2M,4K", "--no-caches")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        #expect(outcome.output.contains("\nIntel Skylake (client), without caches\n  granule  iTLB misses"))
        #expect(outcome.output.contains("\nassumed: "))
        let again = try await place.kperm("simulate", "run", "trace", "--granules", "2M,4K", "--no-caches")
        #expect(again.output == outcome.output)
    }

    @Test func modelsInFiles() async throws {
        let place = try await synthetic()
        let listed = try await place.kperm("simulate", "models")
        #expect(
            listed.output == "skylake  Intel Skylake (client)\nzen3  AMD Zen 3\nn1  Arm Neoverse N1\nu74  SiFive U74\n")
        let printed = try await place.kperm("simulate", "models", "zen3")
        try place.write(Array(printed.output.utf8), to: "mine.json")
        let mine = try await report(place, "--model", "mine.json", "--no-caches")
        let known = try await report(place, "--model", "zen3", "--no-caches")
        #expect(
            mine.models[0].granules.map(\.per1000Instructions.walkReferences)
                == known.models[0].granules.map(\.per1000Instructions.walkReferences))
        #expect(known.models[0].granules[0].per1000Instructions.cache2Misses == nil)

        try place.write(Array(printed.output.replacing(#""entries": 2048"#, with: #""entries": 2047"#).utf8), to: "bad")
        #expect(
            try await refused(place, ["simulate", "trace", "--model", "bad"])
                == "bad: tlbs[3].ways: 2047 entries cannot be divided into sets of 16 ways")
        #expect(
            try await refused(place, ["simulate", "trace", "--model", "zen4"])
                == "zen4: cannot open: No such file or directory")
        #expect(
            try await refused(place, ["simulate", "models", "zen4"])
                == "no model zen4; there are skylake, zen3, n1, u74")
    }

    private struct Table: Decodable {
        let pages: Int
        let virtualBase: String
    }

    /// A trace of the kernel that an image is, shifted by KASLR.
    private func traced(
        _ place: Workplace, shift: UInt64 = 0, more: Int = 0, buildID: [UInt8] = []
    ) async throws {
        let json = try await place.kperm("table", "permuted-segments").output
        let table = try JSONDecoder().decode(Table.self, from: Data(json.utf8))
        let base = try VirtualAddress(#require(UInt64(table.virtualBase.dropFirst(2), radix: 16))) + shift
        var header = TraceHeader(
            virtualBase: base, imageBytes: UInt64((table.pages + more) * pageSize), workload: "sweep")
        header.buildID = buildID
        var writer = try TraceWriter(place["trace"], header)
        for round in 0..<5 {
            for page in 0..<table.pages { try writer.fetch(base + UInt64(page) << 12, instructions: UInt64(round + 1)) }
        }
        try writer.finish()
    }

    @Test func tables() async throws {
        let place = try await Workplace("permuted-segments")
        try await traced(place, shift: 0x1240_0000)
        let found = try await report(place, "--table", "permuted-segments")
        #expect(found.models[0].granules.map(\.order) == ["linear", "drawn", "drawn", "table"])
        _ = try await place.kperm("table", "permuted-segments", "--format", "bin", "-o", "table")
        let binary = try await report(place, "--table", "table", "--granules", "4K")
        #expect(binary.models[0].granules.map(\.order) == ["table"])
        #expect(
            try await refused(place, ["simulate", "trace", "--table", "table", "--granules", "2M,16K"])
                == "table: its granule is 4K, which --granules leaves out")
    }

    @Test func otherKernels() async throws {
        let place = try await Workplace("permuted-segments")
        let words = ["simulate", "trace", "--table", "permuted-segments"]
        try await traced(place, more: 1)
        let pages = try await refused(place, words)
        #expect(pages.hasPrefix("trace: at byte 24 of the uncompressed trace: its image has "))
        #expect(pages.hasSuffix(": recorded from another kernel"))
        try await traced(place, shift: 0x1000)
        #expect(
            try await refused(place, words).contains(": KASLR moves in steps of 2M, so it was recorded from another"))
    }

    @Test func damagedTraces() async throws {
        let place = try await synthetic()
        var bytes = try place.bytes("trace")
        bytes.removeLast(100)
        try place.write(bytes, to: "trace")
        let message = try await refused(place, ["simulate", "trace"])
        #expect(message.hasPrefix("trace: at byte ") && message.contains("truncated"))
        try place.write(Array("kpermtrc".utf8) + [9, 0, 0, 0, 88, 0, 0, 0], to: "trace")
        #expect(
            try await refused(place, ["simulate", "trace"])
                == "trace: at byte 8 of the uncompressed trace: version 9; this kperm reads version 1")
        try place.write([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0], to: "trace")
        #expect(
            try await refused(place, ["simulate", "trace"])
                == "trace: not a trace: it begins neither with kpermtrc nor like a zstd frame")
    }

    /// What fills the buffers is left out of all counts.
    @Test func warmUp() async throws {
        let place = try await synthetic()
        let cold = try await report(place, "--granules", "2M,4K", "--no-caches")
        let warm = try await report(place, "--granules", "2M,4K", "--no-caches", "--warm-up", "20000")
        #expect(cold.trace.references - warm.trace.references - 20_000 < 8192)
        #expect(warm.trace.warmUpReferences == 20_000 && cold.trace.warmUpReferences == 0)
        let walks = [cold, warm].map { $0.models[0].granules[1].per1000Instructions.imageWalks }
        #expect(walks[1] < walks[0])
        let most = cold.trace.references
        #expect(
            try await refused(place, ["simulate", "trace", "--warm-up", "\(most + 1)"])
                == "trace: no more than --warm-up \(most + 1) references")
    }

    /// Single reads in a different gigabyte each would need three tables a read.
    @Test func touchesTooMuch() async throws {
        let place = try Workplace()
        let header = TraceHeader(
            virtualBase: VirtualAddress(0xffff_ffff_8100_0000), imageBytes: 4096, workload: "too much")
        var writer = try TraceWriter(place["trace"], header)
        for step in 0..<20_000 as Range<UInt64> { try writer.read(VirtualAddress(0x1000_0000_0000 + step << 30)) }
        try writer.finish()
        let message = try await refused(place, ["simulate", "trace", "--no-caches"])
        #expect(message.contains("cannot be simulated: it touches more memory than 16384 page tables map"))
    }

    @Test(arguments: [
        ("--granules 4K,4K", "--granules takes each of 2M, 64K, 16K, 4K once, not '4K,4K' (--help explains)"),
        ("--granules 8K", "--granules takes each of 2M, 64K, 16K, 4K once, not '8K' (--help explains)"),
        ("--linear-mapping 16K", "--linear-mapping takes 4K, 2M or 1G, not '16K' (--help explains)"),
        (
            "--linear-map 0xffff888000001000..0xffff889000000000",
            "--linear-map takes START..END in the kernel's half, both multiples of 0x40000000, "
                + "not '0xffff888000001000..0xffff889000000000' (--help explains)"
        ),
        (
            "--linear-map 0xffff888000000000..0xffffffffc0000000",
            "trace: at byte 16 of the uncompressed trace: its image lies within the linear map"
        ),
        ("--warm-up=-1", "--warm-up takes a number of references, not -1 (--help explains)"),
        ("--seed 12", "--seed: a seed is 32 bytes, 64 hexadecimal digits; this one has 2"),
    ])
    func badOptions(options: String, message: String) async throws {
        let place = try await synthetic()
        #expect(
            try await refused(place, ["simulate", "trace"] + options.split(separator: " ").map(String.init)) == message)
    }
}
