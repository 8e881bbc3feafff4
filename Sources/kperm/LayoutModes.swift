// SPDX-License-Identifier: MIT

// `kperm layout --mode`: one address space, two of them, or one kernel in both.

import AddressSpaces
import Addressing
import PagePermutation
import SecureRandom
import TranslationSimulator

struct LayoutReport: Encodable {
    struct Place: Encodable {
        let region: String
        let first: String
        let last: String
        let size: String
        let inside: String?
        let movedByKASLR: Bool

        init(_ region: Region) {
            self.region = region.kind.rawValue
            first = region.range.lowerBound.hexadecimal
            last = region.range.upperBound.hexadecimal
            size = region.sizeText
            inside = region.inside?.rawValue
            movedByKASLR = region.isRandomized
        }
    }

    struct Comparison: Encodable {
        let mode: String
        let rows: [Row]

        struct Row: Encodable {
            let region: String
            let change: ModeComparison.Change
            let here: Place?
            let there: Place?
            /// To be added to an address here, modulo 2^64, to have the one there.
            let distance: String?
        }
    }

    struct Folded: Encodable {
        let mode: String
        let foldedLevels: [String]
        let regions: [Fate]
        let addressesWalked: Int
        let foundWithFolding: Int
        let foundWithoutFolding: Int
        let kernelReads: Int
        let processorReads: Int
        let kernelReadsUnfolded: Int

        struct Fate: Encodable {
            let region: String
            let canonical: Bool
            let constantBase: Bool
            let truncatedStart: String
            /// What of the narrow layout lies there.
            let truncatedHits: String?
            let fits: Bool
            let narrowFirst: String?
        }
    }

    struct Observed: Encodable {
        let file: String
        let regions: [Row]
        let findings: [String]

        struct Row: Encodable {
            let region: String
            let ranges: Int
            let bytes: UInt64
        }
    }

    let mode: String
    let release: String
    let levels: Int
    let addressBits: Int
    let chosen: String
    let sources: [String]
    let regions: [Place]
    var comparison: Comparison?
    var folded: Folded?
    var observed: Observed?
    var processor: String?
    var clock: TickClock?
    var costs: [ModeTiming]?

    init(_ layout: AddressLayout) {
        mode = layout.mode.name
        release = layout.release
        levels = layout.mode.levels
        addressBits = layout.mode.addressBits
        chosen = layout.mode.choice
        sources = layout.sources
        regions = layout.regions.map { Place($0) }
    }
}

extension LayoutCommand {
    func runMode() throws {
        guard let mode else { return }
        let layout = try layout(mode)
        var report = LayoutReport(layout)
        if let against { report.compare(layout, try self.layout(against)) }
        if let under { try report.fold(layout, under: try self.layout(under)) }
        if let maps { try report.observe(layout, maps) }
        if measure { try report.measure() }
        if json { try printJSON(report) } else { report.print() }
        if let observed = report.observed, !observed.findings.isEmpty {
            throw CommandFailure.check(
                "\(observed.file): \(observed.findings.count) findings: not \(report.mode)'s layout")
        }
    }

    private func layout(_ mode: Mode) throws -> AddressLayout {
        guard let layout = AddressLayout.named(mode.rawValue, release: release.rawValue) else {
            throw CommandFailure.input(
                "--release \(release.rawValue): the layout of \(mode.rawValue) is known of Linux 6.1 only")
        }
        return layout
    }
}

extension LayoutReport {
    mutating func compare(_ here: AddressLayout, _ there: AddressLayout) {
        comparison = Comparison(
            mode: there.mode.name,
            rows: ModeComparison(here, there).rows.map { row in
                Comparison.Row(
                    region: row.kind.rawValue, change: row.change, here: row.here.map { Place($0) },
                    there: row.there.map { Place($0) },
                    distance: row.distance.map { ($0 < 0 ? "-" : "+") + $0.magnitude.hex })
            })
    }

    mutating func fold(_ wide: AddressLayout, under narrow: AddressLayout) throws {
        guard let kernel = FoldedKernel(wide, under: narrow) else {
            throw CommandFailure.input(
                "--under \(narrow.mode.name): not a narrower mode of \(wide.mode.family) than \(wide.mode.name)")
        }
        var stream: RandomStream
        do {
            let seed = try Seed.parse(hexadecimal: String(repeating: "0", count: 2 * Seed.byteCount))
            stream = try RandomStream(seed: seed, domain: "kperm/layout/walks")
        } catch {
            throw CommandFailure.input("\(error)")
        }
        var numbers: [UInt64] = []
        for _ in 0..<4096 { numbers.append(UInt64(stream.next()) << 32 | UInt64(stream.next())) }
        var next = 0
        let walks = kernel.walk(perRegion: 100) {
            next = (next + 1) % numbers.count
            return numbers[next]
        }
        folded = Folded(
            mode: narrow.mode.name, foldedLevels: kernel.foldedLevels,
            regions: kernel.fates.map { fate in
                Folded.Fate(
                    region: fate.region.kind.rawValue, canonical: fate.isCanonical, constantBase: fate.isConstant,
                    truncatedStart: fate.truncatedStart.hexadecimal, truncatedHits: fate.hits?.rawValue,
                    fits: fate.fits, narrowFirst: fate.narrow?.range.lowerBound.hexadecimal)
            },
            addressesWalked: walks.addresses, foundWithFolding: walks.foldedRight,
            foundWithoutFolding: walks.unfoldedRight, kernelReads: walks.kernelReads,
            processorReads: walks.processorReads, kernelReadsUnfolded: walks.unfoldedReads)
    }

    mutating func observe(_ layout: AddressLayout, _ path: String) throws {
        let ranges = ObservedRange.all(in: String(decoding: try readAll(path), as: UTF8.self))
        let name = path == "-" ? "standard input" : path
        guard !ranges.isEmpty else {
            throw CommandFailure.input(
                "\(name): no mapped ranges: give what QEMU's monitor prints for `info mem`, or the log of a kernel "
                    + "built with DEBUG_VM")
        }
        let check = LayoutCheck(layout, ranges)
        observed = Observed(
            file: name,
            regions: check.rows.map { Observed.Row(region: $0.kind.rawValue, ranges: $0.ranges, bytes: $0.bytes) },
            findings: check.findings)
    }

    mutating func measure() throws {
        let clock = TickClock()
        do {
            let seed = try Seed.parse(hexadecimal: String(repeating: "0", count: 2 * Seed.byteCount))
            let problem = try PermutationProblem(
                pageCount: 10_288, classes: [PageClass(name: "all", ranges: [0..<10_288])], granule: .page4K)
            let table = TranslationTable(
                try Permutation.draw(problem, seed: seed), virtualBase: VirtualAddress(0xffff_ffff_8100_0000),
                physicalBase: PhysicalAddress(0x100_0000))
            costs = try ModeBench(table, clock: clock, seed: seed).measure(.quick)
        } catch let error as WrongLookup {
            throw CommandFailure.check("\(error)")
        } catch {
            throw CommandFailure.input("\(error)")
        }
        self.clock = clock
        processor = processorName() ?? "unknown processor"
    }

    // MARK: Text

    func print() {
        Swift.print("mode:    \(mode), \(levels) levels, \(addressBits) bits of an address; chosen \(chosen)")
        for (i, source) in sources.enumerated() { Swift.print((i == 0 ? "sources: " : "         ") + source) }
        if let comparison { return printComparison(comparison) }
        if let folded {
            printFolded(folded)
        } else if let observed {
            printObserved(observed)
        } else {
            printTable(
                ["region", "first", "last", "size", "KASLR"],
                regions.map {
                    [
                        ($0.inside == nil ? "" : "- ") + $0.region, $0.first, $0.last, $0.size,
                        $0.movedByKASLR ? "moves" : "",
                    ]
                }, leftColumns: 3)
        }
        printCosts()
    }

    private func printComparison(_ comparison: Comparison) {
        Swift.print("against: \(comparison.mode)")
        printTable(
            ["region", "", "first in \(mode)", "size", "first in \(comparison.mode)", "size"],
            comparison.rows.map {
                [
                    $0.region, $0.change.rawValue, $0.here?.first ?? "-", $0.here?.size ?? "-",
                    $0.there?.first ?? "-", $0.there?.size ?? "-",
                ]
            }, leftColumns: 2)
        printCosts()
    }

    private func printFolded(_ folded: Folded) {
        Swift.print(
            "under:   \(folded.mode): \(folded.foldedLevels.joined(separator: ", ")) folded; "
                + "\(folded.foundWithFolding) of \(folded.addressesWalked) pages mapped by the kernel's code are found "
                + "by the processor, \(folded.foundWithoutFolding) if it does not fold")
        Swift.print(
            "         entries read a walk: \(folded.kernelReads) by the kernel, \(folded.processorReads) by the "
                + "processor, \(folded.kernelReadsUnfolded) under \(mode)")
        printTable(
            ["region of \(mode)", "base", "an address here", "goes to", "with high bits dropped", "which is"],
            folded.regions.map {
                [
                    $0.region, $0.constantBase ? "constant" : "variable", $0.canonical ? "yes" : "no",
                    $0.narrowFirst ?? "-", $0.truncatedStart, $0.truncatedHits ?? "nothing's",
                ]
            }, leftColumns: 6)
    }

    private func printObserved(_ observed: Observed) {
        Swift.print("observed: \(observed.file)")
        printTable(
            ["region", "ranges", "bytes"],
            observed.regions.map { [$0.region, "\($0.ranges)", $0.bytes == 0 ? "-" : bytesText($0.bytes)] })
        for finding in observed.findings { Swift.print("\(observed.file): \(finding)") }
    }

    private func printCosts() {
        guard let costs, let clock, let processor else { return }
        Swift.print("costs:   \(processor); nanoseconds a lookup, random pages, caches warm, batches of 1,024")
        var variants: [String] = []
        for cost in costs where !variants.contains(cost.variant) { variants.append(cost.variant) }
        for question in ModeTiming.Question.allCases {
            let rows = variants.compactMap { variant -> [String]? in
                let own = costs.filter { $0.variant == variant && $0.question == question }
                guard let rate = own.first(where: { $0.kind == .throughput }),
                    let wait = own.first(where: { $0.kind == .latency })
                else { return nil }
                return [
                    variant, rate.ticks.nanoseconds(clock).p50.text(2), rate.againstConstant.text(2),
                    wait.ticks.nanoseconds(clock).p50.text(2), wait.againstConstant.text(2),
                ]
            }
            printTable([question.rawValue, "throughput", "of constant", "latency", "of constant"], rows)
        }
    }
}

extension Region {
    /// The size in words; sizes that no unit fits are rounded as Linux's documents do.
    fileprivate var sizeText: String {
        guard let bytes = byteCount else { return "16 EB" }
        if kind == .hole { return "~16 EB" }
        let exact = bytesText(bytes)
        guard exact.count > 8 else { return exact }
        let units = ["bytes", "KB", "MB", "GB", "TB", "PB", "EB"]
        let unit = min(6, (63 - bytes.leadingZeroBitCount) / 10)
        return "~\((Double(bytes) / Double(UInt64(1) << UInt64(10 * unit))).text(1)) \(units[unit])"
    }
}
