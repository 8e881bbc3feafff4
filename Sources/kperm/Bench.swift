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
            it costs is taken off. (Ratios that are held against a limit are of batches of 1,024.) A tick is one of that counter, which runs at a constant rate, mostly not the \
            processor's; how many cycles a tick is, is measured once, and JSON gives times in cycles, too. Evicted: \
            before each batch the table is flushed from all caches; code, stack and TLB stay. Patterns: hot (16 pages), \
            uniform, zipf (exponent 1), and, with --trace, replayed: pages of the image in the order in which a real \
            kernel used them, in stretches of 1,024 references from all over the trace.

            Then the same bytes are read and executed in the same order in pages of 4 KB and of 2 MB, where this machine \
            gives those: what it costs that a permuted kernel cannot have large pages.

            The table is OUT's, or one of --pages pages drawn from --seed, which is no secret here and has a default. Of \
            a drawn one there are --orders more, drawn alike: what depends on the order (bytes, cache lines, steps of a \
            search) is given as a range over these, and times against the linear offset with their 95 % interval.

              kperm bench
              kperm bench vmlinux.kperm --json
              kperm bench --trace trace.kpt --quick
              kperm bench --pages 32768 --granule 2M --quick

            Exit status: 0, whatever was measured.
            """)

    @Argument(help: "A permuted vmlinux, or a translation table as `kperm table` writes it.", completion: .file())
    var out: String?

    @Option(
        help: "A trace whose accesses to the image are replayed; without OUT the table has as many pages as its image.",
        completion: .file())
    var trace: String?

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

    @Option(
        help: ArgumentHelp(
            "Over how many orders drawn alike intervals are given; 0: none. (default: 10)", valueName: "count"))
    var orders: Int?

    @Flag(help: "Take a few seconds only; the tails are then of few batches.")
    var quick = false

    @Flag(help: "Print JSON.")
    var json = false

    private static let mostPages = 1 << 18
    private static let mostOrders = 1000

    func validate() throws {
        if out != nil, pages != nil || granule != nil {
            throw ValidationError("give OUT, or what to draw with --pages and --granule, not both")
        }
        if let pages, !(1...Self.mostPages).contains(pages) {
            throw ValidationError("--pages takes a number from 1 to \(Self.mostPages)")
        }
        if out != nil, orders != nil { throw ValidationError("OUT has one order: leave --orders out") }
        if let orders, orders == 1 || !(0...Self.mostOrders).contains(orders) {
            throw ValidationError("--orders takes 0, or a number from 2 to \(Self.mostOrders)")
        }
    }

    func run() throws {
        let seed = try makeSeed()
        let replayed = try trace.map { try replay($0) }
        let problem = try out == nil ? problem(replayed?.header) : nil
        let table = try problem.map { try draw($0, seed) } ?? table(replayed?.header)
        let clock = TickClock()
        let effort = quick ? BenchEffort.quick : .usual
        do {
            let lookups = try LookupBench(table, clock: clock, seed: seed)
            let patterns = try AccessPattern.all(
                LookupBench.patternLength, of: table.pageCount, seed: seed, replaying: replayed?.pages ?? [])
            var report = BenchReport(file: out, trace: trace, table, clock, lookups.sizes)
            for pattern in patterns {
                progress("kperm: \(pattern.name)")
                let timings = try lookups.measure(pattern, effort)
                report.add(timings)
                if pattern.name == "uniform" {
                    report.check(
                        try lookups.measureSteady(pattern, effort), try lookups.compareWithC(pattern, effort))
                }
            }
            do {
                let mappings = try MappingBench(pages: table.pageCount, clock: clock)
                report.add(patterns.flatMap { mappings.measure($0, effort) }, by: mappings.means)
            } catch let problem {
                report.largePages = "none: \(problem)"
            }
            let orders = orders ?? 10
            if let problem, orders > 0 {
                report.add(
                    try OrderSpread.measure(
                        problem, at: table, orders: orders, clock: clock, seed: seed,
                        progress: { progress("kperm: order \($0) of \(orders)") }), of: orders)
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

    /// What a trace says of itself, and the pages that its kernel used.
    private func replay(_ path: String) throws -> (header: TraceHeader, pages: [UInt32]) {
        do {
            var reader = try TraceReader(path)
            let header = reader.header
            if let pages, pages != header.pageCount {
                throw TraceError(
                    path, at: 24,
                    "its image has \(header.pageCount) pages, and --pages asks for \(pages): leave --pages out")
            }
            return (header, try AccessPattern.pages(in: &reader))
        } catch let error as TraceError {
            throw CommandFailure.input("\(error)")
        }
    }

    /// OUT's table, which has to be of the kernel that a trace was recorded from.
    private func table(_ header: TraceHeader?) throws -> TranslationTable {
        let path = out ?? ""
        if let trace, let header { return try translationTable(path, fitting: trace, header) }
        if let table = try tableFile(path) { return table }
        if try isCompressed(path) { throw liveTableOnly(path) }
        return try attempt { () throws(RewriteError) in try PermutedImage.open(path).table }
    }

    /// What orders are drawn of: as many pages as the trace's image has, else as asked for.
    private func problem(_ header: TraceHeader?) throws -> PermutationProblem {
        let pages = header?.pageCount ?? pages ?? 10_288
        return try PermutationProblem(
            pageCount: pages, classes: [PageClass(name: "all", ranges: [0..<pages])], granule: granule ?? .page4K)
    }

    /// A table at the addresses that x86-64 kernels are linked at.
    private func draw(_ problem: PermutationProblem, _ seed: borrowing Seed) throws -> TranslationTable {
        TranslationTable(
            try Permutation.draw(problem, seed: seed), virtualBase: VirtualAddress(0xffff_ffff_8100_0000),
            physicalBase: PhysicalAddress(0x100_0000))
    }
}
