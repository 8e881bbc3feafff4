// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import KernelRewrite
import PagePermutation
import SecureRandom
import TranslationSimulator

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure on this machine what looking an address up costs, and what pages of 4 KB cost.",
        discussion: """
            Times ways to do what virt_to_phys does: the linear offset of today's kernels, tables, searches, walks of \
            page tables and a computed permutation (of its own: it does not give the table's order). All of them take \
            turns in one run, so that what else the machine does hits all alike.

            Throughput is of addresses that are known beforehand; in latency each lookup waits for the one before \
            (and for one addition). A batch is 64 lookups between two readings of the time-stamp counter; what reading \
            it costs is taken off. A tick is one of that counter, which runs at a constant rate, mostly not the \
            processor's: one cycle may be more or less. Evicted: before each batch the table is flushed from all caches; \
            code, stack and TLB stay. Patterns: hot (16 pages), uniform, zipf (exponent 1).

            Then the same bytes are read and executed in the same order in pages of 4 KB and of 2 MB, where this machine \
            gives those: what it costs that a permuted kernel cannot have large pages.

            The table is OUT's, or one of --pages pages drawn from --seed, which is no secret here and has a default.

              kperm bench
              kperm bench vmlinux.kperm --json
              kperm bench --pages 32768 --granule 2M --quick

            Exit status: 0, whatever was measured.
            """)

    @Argument(help: "A permuted vmlinux, or a translation table as `kperm table` writes it.", completion: .file())
    var out: String?

    @Option(help: ArgumentHelp("Draw a table of so many pages. (default: 10288)", valueName: "count"))
    var pages: Int?

    @Option(
        help: ArgumentHelp(
            "How many pages of it move together: \(Granule.allCases.map(\.rawValue).joined(separator: ", ")). "
                + "(default: 4K)"))
    var granule: Granule?

    @Option(
        help: ArgumentHelp("What table, patterns and keys are drawn from: 64 hexadecimal digits.", valueName: "hex"))
    var seed = String(repeating: "0", count: 2 * Seed.byteCount)

    @Flag(help: "Take a few seconds only; the tails are then of few batches.")
    var quick = false

    @Flag(help: "Print JSON.")
    var json = false

    private static let mostPages = 1 << 18

    func validate() throws {
        if out != nil, pages != nil || granule != nil {
            throw ValidationError("give OUT, or what to draw with --pages and --granule, not both")
        }
        if let pages, !(1...Self.mostPages).contains(pages) {
            throw ValidationError("--pages takes a number from 1 to \(Self.mostPages)")
        }
    }

    func run() throws {
        let seed = try makeSeed()
        let table = try out.map(table(of:)) ?? drawn(seed)
        let clock = TickClock()
        let effort = quick ? BenchEffort.quick : .usual
        do {
            let lookups = try LookupBench(table, clock: clock, seed: seed)
            let patterns = try AccessPattern.all(LookupBench.patternLength, of: table.pageCount, seed: seed)
            var report = BenchReport(file: out, table, clock, lookups.sizes)
            for pattern in patterns {
                progress("kperm: \(pattern.name)")
                let timings = try lookups.measure(pattern, effort)
                report.add(timings)
                if pattern.name == "uniform" { report.check(timings, try lookups.compareWithC(pattern, effort)) }
            }
            do {
                let mappings = try MappingBench(pages: table.pageCount, clock: clock)
                report.add(patterns.flatMap { mappings.measure($0, effort) }, by: mappings.means)
            } catch let problem {
                report.largePages = "none: \(problem)"
            }
            if json { try printJSON(report) } else { report.print() }
        } catch let error as LookupError {
            throw CommandFailure.input("\(out ?? "--pages"): \(error)")
        } catch let error as WrongLookup {
            throw CommandFailure.check("\(error)")
        }
    }

    private func makeSeed() throws -> Seed {
        do {
            return try Seed.parse(hexadecimal: seed)
        } catch {
            throw CommandFailure.input("--seed: \(error)")
        }
    }

    private func table(of path: String) throws -> TranslationTable {
        if let table = try tableFile(path) { return table }
        if try isCompressed(path) { throw liveTableOnly(path) }
        return try attempt { () throws(RewriteError) in try PermutedImage.open(path).table }
    }

    /// A table at the addresses that x86-64 kernels are linked at.
    private func drawn(_ seed: borrowing Seed) throws -> TranslationTable {
        let pages = pages ?? 10_288
        let problem = try PermutationProblem(
            pageCount: pages, classes: [PageClass(name: "all", ranges: [0..<pages])], granule: granule ?? .page4K)
        return TranslationTable(
            try Permutation.draw(problem, seed: seed), virtualBase: VirtualAddress(0xffff_ffff_8100_0000),
            physicalBase: PhysicalAddress(0x100_0000))
    }
}
