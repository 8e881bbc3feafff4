// SPDX-License-Identifier: MIT

import ArgumentParser
import FoundationEssentials
import PagePermutation
import Report
import SecureRandom
import TranslationSimulator

struct ReportOverhead: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "overhead",
        abstract: "Say what permuting a kernel costs, with confidence intervals over random orders.",
        discussion: """
            Draws N orders of IMAGE for each granule (4K, 16K, 64K), as `kperm permute` would, from seeds that are derived \
            from one. With each order it measures on this machine what looking an address up costs (`kperm bench`), how \
            long drawing and moving the pages takes, and how much longer the file gets. It leads each trace past all known \
            processors with each order (`kperm simulate`), 2M being the kernel as it is, and multiplies the lookups that \
            the traced kernel made by what one of them takes longer than today's.

            The traces must be of this kernel: the same build id, the same number of pages. `tools/trace` records them; \
            the counts that it writes beside X.kpt, as X.json, are of the whole workload and are used if they are there. \
            Without them, what the trace itself holds is counted.

            FILE.html is one page with everything in it, plots by gnuplot, and asks nothing of a network; FILE.md and \
            FILE.json say the same. -o may be given several times: measuring takes minutes, writing does not. --from takes a \
            FILE.json and measures nothing. Without -o Markdown is printed.

              kperm report overhead vmlinux --trace fork.kpt --trace file.kpt -o overhead.html -o overhead.json
              kperm report overhead /boot/vmlinuz-6.1.0-56-cloud-amd64 --trace fork.kpt --quick --format json
              kperm report overhead --from overhead.json -o overhead.html

            --quick measures for a shorter time and simulates no caches: minutes become seconds, limits become wider. The \
            seeds are printed, so they are no secret: permute no kernel with them.
            """)

    @Argument(help: "The kernel image that was traced: a vmlinuz, or an ELF vmlinux with symbols.", completion: .file())
    var image: String?

    @Option(help: "A trace of that kernel at work; may be given several times.", completion: .file())
    var trace: [String] = []

    @Option(help: ArgumentHelp("Orders of each granule, at least \(leastOrders).", valueName: "n"))
    var permutations = leastOrders

    @Option(help: ArgumentHelp("What all seeds are derived from: 64 hexadecimal digits.", valueName: "hex"))
    var seed = String(repeating: "0", count: 2 * Seed.byteCount)

    @Option(help: "Measure nothing: write again what an earlier run wrote as JSON.", completion: .file())
    var from: String?

    @Flag(help: "Take seconds instead of minutes.")
    var quick = false

    @OptionGroup var destinations: ReportDestinations

    private static let leastOrders = 10
    private static let mostOrders = 1000

    func validate() throws {
        guard (image == nil) == (from != nil) else { throw ValidationError("give an image, or --from FILE.json") }
        guard from == nil || trace.isEmpty && !quick else {
            throw ValidationError("--from takes all from its file: leave out --trace and --quick")
        }
        guard from != nil || !trace.isEmpty else {
            throw ValidationError("give at least one trace of this kernel: --trace FILE (tools/trace records them)")
        }
        guard (Self.leastOrders...Self.mostOrders).contains(permutations) else {
            throw ValidationError("--permutations takes a number from \(Self.leastOrders) to \(Self.mostOrders)")
        }
    }

    func run() async throws {
        try await destinations.check()
        let report: OverheadReport =
            if let from {
                try ReportDestinations.read(from, writtenBy: "kperm report overhead")
            } else {
                try await measured(image ?? "")
            }
        try await destinations.write(report, report.document)
    }

    // MARK: The work

    private func measured(_ image: String) async throws -> OverheadReport {
        let seeds = try OrderSeeds(root: seed, count: permutations)
        let traces = try trace.map { try TraceSubject($0, among: trace) }
        let needsSites = traces.contains { $0.counts == nil }
        let subject = try KernelSubject(image, seeds, needsSites: needsSites)
        for trace in traces { try trace.check(against: subject) }

        let clock = TickClock()
        let timing = LookupStudy(seeds: seeds, clock: clock, quick: quick)
        let lookups = try timing.lookups(subject)
        let mappings = try timing.mappings(subject)
        let memory = try timing.memory(subject)
        let models = try ProcessorModel.known.map { (name: $0.name, model: try model(named: $0.name)) }
        let simulated = try await TraceStudy(subject, traces, models, caches: !quick).run()
        let workloads = try traces.enumerated().map { index, trace in
            try trace.workload(simulated.totals[index], subject)
        }
        return OverheadReport(
            tool: kpermVersion, generated: Date.now.ISO8601Format(), kernel: subject.kernel,
            machine: OverheadReport.Machine(
                processor: processorName() ?? "an unknown processor", ticksPerNanosecond: clock.ticksPerNanosecond,
                largePages: mappings.means),
            method: OverheadReport.Method(
                permutations: permutations, rootSeed: seed, seeds: seeds.all, quick: quick, caches: !quick),
            granules: subject.granuleRows, images: subject.images, memory: memory, baseline: lookups.baseline,
            candidate: lookups.candidate, lookups: lookups.rows, curves: lookups.curves, mappings: mappings.rows,
            workloads: workloads, costs: workloads.map { lookups.cost(of: $0) }, simulations: simulated.rows,
            models: models.map { name, model in
                let cycles = model.cycles
                let numbers = [
                    ("an instruction without translation", cycles.instruction),
                    ("a hit in the second-level buffer", cycles.secondLevelHit),
                ]
                let walk =
                    quick
                    ? [("an entry of a page table", cycles.walkReference)]
                    : [
                        ("a hit in the first cache", cycles.cache1), ("in the second", cycles.cache2),
                        ("in the third", cycles.cache3), ("memory", cycles.memory),
                    ]
                return OverheadReport.Model(
                    name: name, title: model.title,
                    numbers: (numbers + walk).map {
                        OverheadReport.Number(name: $0.0, value: $0.1.value, source: $0.1.source)
                    })
            })
    }
}
