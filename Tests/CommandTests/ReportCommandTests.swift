// SPDX-License-Identifier: MIT

// kperm report overhead on the sample kernel and a committed trace of a larger
// one, folded onto it, in all forms; and what it refuses.

import Addressing
import Foundation
import Report
import Subprocess
import Testing
import TranslationSimulator

struct ReportCommandTests {
    private struct Table: Decodable {
        let pages: Int
        let virtualBase: String
    }

    /// The references of a committed trace, those of the image led back into one of so many pages.
    private func folded(
        _ place: Workplace, sites: [VirtualAddress] = [], buildID: [UInt8] = [], more: Int = 0
    ) async throws {
        let json = try await place.kperm("table", "permuted-segments").output
        let table = try JSONDecoder().decode(Table.self, from: Data(json.utf8))
        let base = try VirtualAddress(#require(UInt64(table.virtualBase.dropFirst(2), radix: 16)))
        let size = UInt64((table.pages + more) * pageSize)
        var reader = try TraceReader("\(checkout)/Tests/Fixtures/traces/fork.kpt")
        let image = reader.header.virtualBase..<reader.header.virtualBase + reader.header.imageBytes
        var header = TraceHeader(virtualBase: base, imageBytes: size, workload: "fork")
        header.sites = sites
        header.buildID = buildID
        var writer = try TraceWriter(place["trace.kpt"], header)
        var batch = TraceBatch()
        var left = 20_000
        while left > 0, try reader.next(&batch) {
            for index in 0..<min(left, batch.count) {
                let (line, kind) = batch[index]
                let address = image.contains(line) ? base + (line - image.lowerBound) % size : line
                switch kind {
                case 0: try writer.fetch(address, instructions: 5)
                case 1: try writer.read(address)
                default: try writer.write(address)
                }
            }
            left -= batch.count
        }
        try writer.event(.systemCall)
        for site in sites.indices { try writer.event(.site(site)) }
        try writer.finish()
    }

    @Test func forms() async throws {
        let place = try await Workplace("sample", "permuted-segments")
        try await folded(place)
        let words = ["report", "overhead", "sample", "--trace", "trace.kpt", "--quick"]
        let outcome = try await place.kperm(words + ["-o", "page.html", "-o", "report.json", "-o", "report.md"])
        try #require(outcome.status == 0 && outcome.error.isEmpty && outcome.output.isEmpty, "\(outcome.error)")

        let report = try JSONDecoder().decode(OverheadReport.self, from: Data(try place.bytes("report.json")))
        #expect(report.granules.map(\.granule) == ["64K", "16K", "4K"])
        #expect(report.granules.allSatisfy { $0.moved.count == 10 && $0.runs.value >= 1 })
        #expect(Set(report.method.seeds).count == 10 && report.method.permutations == 10)
        #expect(report.images.map(\.form) == ["vmlinux, segments", "vmlinux, contents"])
        #expect(report.images.allSatisfy { $0.permutedRaw.value > Double($0.raw) })
        #expect(report.simulations.count == 4 * 4)
        for model in ["skylake", "zen3", "n1", "u74"] {
            let own = report.simulations.filter { $0.model == model }
            #expect(own.map(\.granule) == ["2M", "64K", "16K", "4K"])
            #expect(own[0].slowdownPercent == Estimate(0) && own[3].slowdownPercent.value > 0)
            #expect(own[0].imageWalks.value <= own[3].imageWalks.value)
        }
        let table = try #require(
            report.lookups.first {
                $0.strategy == report.candidate && $0.kind == "latency" && $0.caches == "warm"
            })
        #expect(table.p50.count == 10 && table.p50.least > 0)
        #expect(report.curves.count == 16 && report.curves.allSatisfy { !$0.points.isEmpty })
        #expect(report.costs.map(\.workload) == ["fork"] && report.workloads[0].systemCalls > 0)

        // The page and the Markdown are of these numbers, and are written again from them.
        let page = String(decoding: try place.bytes("page.html"), as: UTF8.self)
        let markdown = String(decoding: try place.bytes("report.md"), as: UTF8.self)
        #expect(markdown == report.document.markdown)
        for seed in report.method.seeds { #expect(page.contains(seed) && markdown.contains(seed)) }
        let again = try await place.kperm("report", "overhead", "--from", "report.json", "-o", "again.html")
        #expect(again.status == 0 && again.error.isEmpty)
        #expect(String(decoding: try place.bytes("again.html"), as: UTF8.self) == page)
        let printed = try await place.kperm("report", "overhead", "--from", "report.json", "--json")
        #expect(try JSONDecoder().decode(OverheadReport.self, from: Data(printed.output.utf8)) == report)
    }

    @Test func otherKernels() async throws {
        let place = try await Workplace("sample", "permuted-segments")
        let words = ["report", "overhead", "sample", "--trace", "trace.kpt"]
        try await folded(place, more: 1)
        let pages = try await refused(place, words)
        #expect(pages.hasPrefix("trace.kpt: its image has ") && pages.hasSuffix(": recorded from another kernel"))
        try FileManager.default.copyItem(
            atPath: "\(checkout)/Tests/Fixtures/traces/fork.kpt", toPath: place["fork.kpt"])
        let other = try await refused(place, ["report", "overhead", "sample", "--trace", "fork.kpt"])
        #expect(other.hasPrefix("fork.kpt: ") && other.contains("recorded from another kernel"), "\(other)")
        try await folded(place)
        #expect(
            try await refused(place, ["report", "overhead", "permuted-segments", "--trace", "trace.kpt"])
                == "permuted-segments: already permuted; give the original")
    }

    /// Counts beside a trace are of that trace, or nothing is done.
    @Test func otherCounts() async throws {
        let place = try await Workplace("sample", "permuted-segments")
        try await folded(place)
        let words = ["report", "overhead", "sample", "--trace", "trace.kpt"]
        try FileManager.default.copyItem(
            atPath: "\(checkout)/Tests/Fixtures/traces/pipe.json", toPath: place["trace.json"])
        #expect(try await refused(place, words).hasPrefix("trace.json: counts of workload pipe, build id 3b43fad5"))
        try place.write(Array("{}".utf8), to: "trace.json")
        #expect(try await refused(place, words).contains("trace.json: not what tools/trace counts beside trace.kpt"))
    }

    @Test func noGnuplot() async throws {
        let place = try await Workplace("sample", "permuted-segments")
        try await folded(place)
        try FileManager.default.createDirectory(atPath: place["bin"], withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: place["bin/sh"], withDestinationPath: "/bin/sh")
        let outcome = try await execute(
            product, ["report", "overhead", "sample", "--trace", "trace.kpt", "-o", "page.html"], in: place.path,
            environment: ["PATH": place["bin"]])
        #expect(outcome.status == 2)
        #expect(outcome.error.hasPrefix("kperm: gnuplot cannot be run: install Debian's package gnuplot-nox"))
        #expect(try !place.files.contains("page.html"))
    }

    @Test(arguments: [
        ("", "give an image, or --from FILE.json (--help explains)"),
        ("sample", "give at least one trace of this kernel: --trace FILE (tools/trace records them) (--help explains)"),
        ("sample --trace t --permutations 9", "--permutations takes a number from 10 to 1000 (--help explains)"),
        (
            "sample --trace t -o page.txt",
            "page.txt: say in what form with --format, or let its name end with .html, .md or .json (--help explains)"
        ),
        (
            "sample --trace t -o a.html -o b.md --format json",
            "--format is for one output; several are told apart by their names (--help explains)"
        ),
        ("sample --trace t --json -o a.json", "--json prints; to write a file, -o FILE.json (--help explains)"),
        ("sample --trace none.kpt", "none.kpt: cannot open: No such file or directory"),
        ("sample --trace none.kpt -o none/a.json", "none/a.json: cannot write there: No such file or directory"),
        ("--from sample", "sample: not a report that kperm report overhead wrote as JSON"),
    ])
    func refusals(words: String, message: String) async throws {
        let place = try await Workplace("sample")
        let all = ["report", "overhead"] + words.split(separator: " ").map(String.init)
        #expect(try await refused(place, all) == message)
    }
}
