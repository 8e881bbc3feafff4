// SPDX-License-Identifier: MIT

// What the overhead report says, in the order that its reader asks: what it comes
// to, then each number with where it comes from, then how it was made and what it
// does not tell.

import Glibc

extension OverheadReport {
    /// The report for a reader.
    public var document: Document {
        Document(
            title: "What permuting \(kernel.release ?? kernel.file) costs",
            subtitle: "\(kernel.architecture), \(Double(kernel.pages).fixed(0)) pages. \(method.permutations) "
                + "random orders of each granule, measured on \(machine.processor), \(generated), by kperm \(tool).",
            facts: facts,
            sections: [
                Document.Section(title: "The two questions", blocks: answers),
                Document.Section(title: "The kernel and its orders", blocks: kernelBlocks),
                Document.Section(title: "What a lookup costs", blocks: lookupBlocks),
                Document.Section(title: "How often the kernel looks up", blocks: workloadBlocks),
                Document.Section(title: "What small pages cost", blocks: smallPageBlocks),
                Document.Section(title: "Cost against entropy", blocks: entropyBlocks),
                Document.Section(title: "The simulation in full", blocks: simulationBlocks),
                Document.Section(title: "Method, assumptions and limits", blocks: methodBlocks),
            ])
    }

    // MARK: What it comes to

    private static let mainPattern = "uniform"

    private func lookup(
        _ strategy: String, _ kind: String, _ caches: String, pattern: String = mainPattern
    ) -> Lookup? {
        lookups.first {
            $0.strategy == strategy && $0.kind == kind && $0.caches == caches && $0.pattern == pattern
        }
    }

    /// How much longer the candidate's lookups take than the baseline's, in the middle of the orders' medians.
    private func extra(_ caches: String) -> Double? {
        guard let table = lookup(candidate, "latency", caches), let today = lookup(baseline, "latency", caches) else {
            return nil
        }
        return table.p50.value - today.p50.value
    }

    private func span(_ values: [Double], _ unit: String = "") -> String {
        guard let least = values.min(), let most = values.max() else { return "none" }
        return (least.short == most.short ? most.short : "\(least.short) to \(most.short)") + unit
    }

    /// The granule that is the kernel as it is.
    private var stock: String? {
        simulations.first { row in !granules.contains { $0.granule == row.granule } }?.granule
    }

    private var smallestGranule: String? { granules.last?.granule }

    private var smallSlowdowns: [Simulation] { simulations.filter { $0.granule == smallestGranule } }

    private var facts: [Document.Fact] {
        var facts: [Document.Fact] = []
        if let warm = extra("warm"), let evicted = extra("evicted") {
            facts.append(
                Document.Fact(
                    value: "+\(warm.short) ns, cold +\(evicted.short) ns",
                    label: "a lookup in the table more than today's, each waiting for the one before; the table in "
                        + "the cache, and evicted"))
        }
        let rates = costs.compactMap(\.lookupsPerSystemCall)
        if !rates.isEmpty {
            facts.append(
                Document.Fact(value: span(rates), label: "lookups a system call, by workload"))
        }
        if let most = costs.max(by: { $0.evicted.percent.value < $1.evicted.percent.value }) {
            facts.append(
                Document.Fact(
                    value: "\(most.evicted.percent.value.short) %",
                    label: "of the kernel's time for lookups in the worst workload (\(most.workload)), were the "
                        + "table never in the cache"))
        }
        if !smallSlowdowns.isEmpty {
            facts.append(
                Document.Fact(
                    value: span(smallSlowdowns.map(\.slowdownPercent.value), " %"),
                    label: "slower with pages of 4 KB, by workload and processor: simulated, at the upper end"))
        }
        return facts
    }

    private var answers: [Document.Block] {
        var blocks: [Document.Block] = []
        if let warm = extra("warm"), let evicted = extra("evicted"),
            let most = costs.max(by: { $0.evicted.percent.value < $1.evicted.percent.value }),
            let table = lookup(candidate, "latency", "warm")
        {
            let others = costs.filter { $0.workload != most.workload }.map(\.evicted.percent.value)
            let rest = others.max().map { "; in the others at most \($0.short) %" } ?? ""
            blocks.append(
                .text(
                    "What does a table in virt_to_phys cost? A lookup (\(candidate), "
                        + "\(Double(table.tableBytes).fixed(0)) bytes) takes \(warm.short) ns longer than what "
                        + "today's kernel does (\(baseline)), and \(evicted.short) ns longer when the table is in "
                        + "no cache. The kernel looks up \(span(costs.map(\.lookupsPerSecond))) addresses of its "
                        + "image a second. Both multiplied: \(most.warm.percent.value.short) to "
                        + "\(most.evicted.percent.value.short) % of the kernel's time in the workload "
                        + "\(most.workload)\(rest)."))
        }
        if !smallSlowdowns.isEmpty {
            var parts: [String] = []
            for model in models {
                let own = smallSlowdowns.filter { $0.model == model.name }.map(\.slowdownPercent.value)
                if !own.isEmpty { parts.append("\(model.title) \(span(own, " %"))") }
            }
            blocks.append(
                .text(
                    "What do pages of 4 KB under the kernel cost? Against blocks of 2 MB, by workload: "
                        + parts.joined(separator: ", ") + ". That is simulated from traces of the kernel at work "
                        + "and at the upper end, for every walk and every hit in a second-level buffer is taken to "
                        + "hold up everything."))
        }
        blocks.append(
            .text(
                "Memory: \(Double(memory.tableBytes).fixed(0)) bytes for the translation table, both ways, and "
                    + "\(memory.pageTablePages) pages of page tables."))
        return blocks
    }

    // MARK: The kernel and its orders

    private var kernelBlocks: [Document.Block] {
        let rows = granules.map { row in
            Document.Row.cells([
                Document.Cell(row.granule), Document.Cell(Double(row.movable).fixed(0)), row.moved.cell(decimals: 0),
                row.runs.cell(decimals: 0), Document.Cell(row.targetBits.fixed(2)),
                Document.Cell(row.jointBits.fixed(0)),
            ])
        }
        var blocks: [Document.Block] = [
            .table(
                Document.Table(
                    caption: "What is permuted, by granule: how many pages move together. The bits of a page are "
                        + "log2 of the places it may have, in the mean over the counted pages; a page that stays "
                        + "has 0.",
                    columns: [
                        .words("Granule"), .number("May move, pages"), .number("Moved, pages"),
                        .number(
                            "Runs of frames"),
                        .number("Bits a page"), .number("Bits of the order"),
                    ], rows: rows)),
            .table(
                Document.Table(
                    caption: "The file: bytes as it is, and compressed.",
                    columns: [
                        .words("Form"), .number("Original"), .number("Permuted"), .number("Longer"),
                        .words("Compressed by"), .number("Original"), .number("Permuted"), .number("Longer"),
                    ],
                    rows: images.map { image in
                        .cells([
                            Document.Cell(image.form), Document.Cell(Double(image.raw).fixed(0)),
                            image.permutedRaw.cell(decimals: 0), Self.change(image.permutedRaw, Double(image.raw)),
                            Document.Cell(image.compressor), Document.Cell(Double(image.compressed).fixed(0)),
                            image.permutedCompressed.cell(decimals: 0),
                            Self.change(image.permutedCompressed, Double(image.compressed)),
                        ])
                    })),
        ]
        blocks.insert(
            .text(
                "\(kernel.file): \(kernel.format), release \(kernel.release ?? "unknown")"
                    + (kernel.build.map { ", \($0)" } ?? "") + (kernel.buildID.map { ", build id \($0)" } ?? "")
                    + ". \(Double(kernel.pages).fixed(0)) pages; of \(Double(kernel.counted).fixed(0)) counted "
                    + "pages \(kernel.pinned) are pinned."), at: 0)
        blocks.append(
            .text(
                "Drawing an order from its seed takes \(memory.drawMilliseconds.words) ms here, moving the pages "
                    + "along its cycles through one page besides \(memory.moveMilliseconds.words) ms. A kernel that "
                    + "permutes itself does both when it boots; here a process did, on memory as large as the "
                    + "image, in no cache."))
        return blocks
    }

    private static func change(_ new: Estimate, _ old: Double) -> Document.Cell {
        let percent = 100 * (new.value / old - 1)
        return Document.Cell(
            (new.value < old ? "" : "+") + (new.value - old).fixed(0), range: "\(percent.fixed(2)) %")
    }

    // MARK: Lookups

    private var lookupBlocks: [Document.Block] {
        var strategies: [String] = []
        for lookup in lookups where !strategies.contains(lookup.strategy) { strategies.append(lookup.strategy) }
        var shown: [String] = []
        for curve in curves where !shown.contains(curve.strategy) { shown.append(curve.strategy) }
        let plots = ["warm", "evicted"].map { caches in
            let own = curves.filter { $0.caches == caches }
            let fastest = own.flatMap(\.points).map(\.x).filter { $0 > 0 }.min() ?? 1
            // Behind that there are only the batches in which the machine did something else, too.
            let end = 4 * (own.compactMap { $0.points.last { $0.y <= 0.5 }?.x }.max() ?? fastest)
            return Plot(
                title: caches == "warm" ? "Table in the cache" : "Table evicted before each batch",
                xLabel: "nanoseconds a lookup", yLabel: "share of batches", logarithmicX: fastest / 1.5...end,
                xMarks: Self.logarithmicMarks(fastest / 1.5...end), hasMarks: false,
                series: own.compactMap { curve in
                    guard let number = shown.firstIndex(of: curve.strategy) else { return nil }
                    return Plot.Series(
                        number: number, points: curve.points.filter { $0.x > 0 }.map { Plot.Point($0.x, $0.y) })
                })
        }
        var blocks: [Document.Block] = [
            .text(
                "Latency: each lookup waits for the one before, and for one addition. A batch is 64 lookups of "
                    + "random pages between two readings of the time-stamp counter, whose cost is taken off; "
                    + "evicted: before each batch the table is flushed from all caches. All ways take turns, on the "
                    + "table of every order."),
            .figure(
                Document.Figure(
                    caption: "Latency of a lookup: the share of batches, of all orders together, that took no "
                        + "longer. The \(shown.count) fastest ways; the others are in the table. The axis ends at "
                        + "four times the slowest median.",
                    legend: shown, hasMarks: false, plots: plots)),
        ]
        var patterns: [String] = []
        for lookup in lookups where !patterns.contains(lookup.pattern) { patterns.append(lookup.pattern) }
        if patterns.contains(Self.mainPattern) {
            blocks.append(
                .table(
                    Document.Table(
                        caption: "Nanoseconds a lookup, random pages: median of the orders' percentiles, its "
                            + "limits, and below them the smallest and the largest of the orders.",
                        columns: [
                            .words("Way"), .number("Bytes"), .number("Lines"), .number("Throughput, p50"),
                            .number("Latency, p50"), .number("p99"), .number("p99.9"), .number("Evicted, p50"),
                            .number("Evicted, p99"), .number("Evicted, p99.9"),
                        ],
                        rows: strategies.map { strategy in
                            let throughput = lookup(strategy, "throughput", "warm")
                            let warm = lookup(strategy, "latency", "warm")
                            let evicted = lookup(strategy, "latency", "evicted")
                            return .cells(
                                [
                                    Document.Cell(strategy),
                                    Document.Cell(warm.map { Double($0.tableBytes).fixed(0) } ?? "-"),
                                    Document.Cell(warm.map { Double($0.cacheLines).fixed(0) } ?? "-"),
                                    throughput?.p50.cell ?? "-",
                                ]
                                    + [warm, evicted].flatMap { timing in
                                        [timing?.p50, timing?.p99, timing?.p999].map { time in time?.cell ?? "-" }
                                    })
                        }
                    ).withoutEmptyColumns))
        }
        let others = patterns.filter { $0 != Self.mainPattern }
        if !others.isEmpty {
            blocks.append(
                .table(
                    Document.Table(
                        caption: "Latency with other patterns, median nanoseconds a lookup: hot is 16 pages, zipf "
                            + "draws a page by its rank, exponent 1.",
                        columns: [.words("Way")]
                            + others.flatMap { [.number("\($0), warm"), .number("\($0), evicted")] },
                        rows: strategies.map { strategy in
                            .cells(
                                [Document.Cell(strategy)]
                                    + others.flatMap { pattern in
                                        ["warm", "evicted"].map {
                                            lookup(strategy, "latency", $0, pattern: pattern)?.p50.cell ?? "-"
                                        }
                                    })
                        })))
        }
        return blocks
    }

    /// 1, 2, 5, 10 ... within a range.
    private static func logarithmicMarks(_ range: ClosedRange<Double>) -> [(name: String, place: Double)] {
        var marks: [(name: String, place: Double)] = []
        var power = Int(log10(range.lowerBound).rounded(.down))
        while pow(10, Double(power)) <= range.upperBound {
            for step in [1.0, 2, 5] {
                let place = step * pow(10, Double(power))
                if range.contains(place) { marks.append((place.fixed(max(0, -power)), place)) }
            }
            power += 1
        }
        return marks
    }

    // MARK: Workloads

    private var workloadBlocks: [Document.Block] {
        let rows = workloads.map { workload in
            Document.Row.cells([
                Document.Cell(workload.name), Document.Cell((Double(workload.instructions) / 1e6).short),
                Document.Cell(Double(workload.systemCalls).fixed(0)), Document.Cell(Double(workload.image).fixed(0)),
                Document.Cell(Double(workload.constants).fixed(0)),
                Document.Cell(workload.linear.map { Double($0).fixed(0) } ?? "not counted"),
                Document.Cell(Double(workload.unclear).fixed(0)), Document.Cell(workload.counted),
            ])
        }
        var blocks: [Document.Block] = [
            .text(
                "Only translations of addresses of the image would ask the table. Constants name pages that kperm "
                    + "pins, and addresses of the linear map are told apart by a comparison that the kernel makes "
                    + "already."),
            .table(
                Document.Table(
                    caption: "Translations of addresses that the kernel made while it was traced.",
                    columns: [
                        .words("Workload"), .number("Million instructions"), .number("System calls"),
                        .number("Of the image"), .number("Constants"), .number("Of the linear map"),
                        .number("Unclear"), .words("Counted"),
                    ], rows: rows)),
            .table(
                Document.Table(
                    caption: "The product: lookups (of the image, and the unclear ones, which may be) times what "
                        + "one takes longer than today's (median latency, random pages). The last column is a "
                        + "bound: the translations of the linear map paid for a lookup in a warm table, too.",
                    columns: [
                        .words("Workload"), .number("Lookups a system call"), .number("Lookups a second"),
                        .number("ns a system call, warm"), .number("evicted"), .number("% of the kernel's time, warm"),
                        .number("evicted"), .number("% if all paid"),
                    ],
                    rows: costs.map { cost in
                        .cells([
                            Document.Cell(cost.workload),
                            Document.Cell(cost.lookupsPerSystemCall.map { $0.fixed($0 < 1 ? 4 : 2) } ?? "-"),
                            Document.Cell(cost.lookupsPerSecond.fixed(0)),
                            cost.warm.nanosecondsPerSystemCall?.cell ?? "-",
                            cost.evicted.nanosecondsPerSystemCall?.cell ?? "-",
                            cost.warm.percent.cell(decimals: 5), cost.evicted.percent.cell(decimals: 5),
                            cost.allWarm?.percent.cell(decimals: 4) ?? "-",
                        ])
                    })),
        ]
        let sites = workloads.flatMap { workload in
            workload.sites.filter { $0.translates == "image" }.prefix(3).map { site in
                Document.Row.cells([
                    Document.Cell(workload.name), Document.Cell(site.place),
                    Document.Cell(Double(site.executions).fixed(0)),
                ])
            }
        }
        if !sites.isEmpty {
            blocks.append(
                .table(
                    Document.Table(
                        caption: "Where most translations of image addresses were made.",
                        columns: [.words("Workload"), .words("Place"), .number("Executions")], rows: sites)))
        }
        return blocks
    }

    // MARK: Small pages

    private func simulations(_ workload: String, _ model: String) -> [Simulation] {
        simulations.filter { $0.workload == workload && $0.model == model }
    }

    private func panels(
        xLabel: String, yLabel: String, xMarks: [(name: String, place: Double)] = [],
        topMarks: [(name: String, place: Double)] = [], place: (Simulation) -> Double?,
        value: (Simulation) -> Estimate
    ) -> [Plot] {
        models.map { model in
            Plot(
                title: model.title, xLabel: xLabel, yLabel: yLabel, xMarks: xMarks, topMarks: topMarks, hasMarks: true,
                series: workloads.prefix(Plot.mostSeries).enumerated().map { index, workload in
                    Plot.Series(
                        number: index,
                        points: simulations(workload.name, model.name).compactMap { simulation in
                            let value = value(simulation)
                            return place(simulation).map {
                                Plot.Point($0, value.value, low: value.low, high: value.high)
                            }
                        }.sorted { $0.x < $1.x })
                })
        }
    }

    private var legend: [String] { workloads.prefix(Plot.mostSeries).map(\.name) }

    private var more: String {
        workloads.count > Plot.mostSeries
            ? " The first \(Plot.mostSeries) workloads; the others are in the tables." : ""
    }

    private var smallPageBlocks: [Document.Block] {
        let names = [stock].compactMap { $0 } + granules.map(\.granule)
        var blocks: [Document.Block] = [
            .text(
                "A stock kernel maps its image in blocks of 2 MB, a permuted one in single pages, which some "
                    + "processors take together where their frames follow one another. Traces of the kernel at work "
                    + "went past models of processors, with the orders of each granule."),
            .figure(
                Document.Figure(
                    caption: "Walks (misses of all translation buffers) for 1000 instructions against the granule; "
                        + "2M is the unpermuted kernel. Bars are \(percentConfidence) limits over the orders. Each "
                        + "plot has a scale of its own.\(more)",
                    legend: legend, hasMarks: true,
                    plots: panels(
                        xLabel: "granule", yLabel: "walks / 1000 instructions",
                        xMarks: names.enumerated().map { ($1, Double(names.count - 1 - $0)) },
                        place: { simulation in
                            names.firstIndex(of: simulation.granule).map { Double(names.count - 1 - $0) }
                        }, value: \.walks))),
            .table(
                Document.Table(
                    caption: "Estimated slowdown with pages of 4 KB against blocks of 2M, in percent: mean of the "
                        + "orders, limits, and range. It is at the upper end; the assumptions are below.",
                    columns: [.words("Workload")] + models.map { .number($0.title) },
                    rows: workloads.map { workload in
                        .cells(
                            [Document.Cell(workload.name)]
                                + models.map { model in
                                    smallSlowdowns.first { $0.workload == workload.name && $0.model == model.name }?
                                        .slowdownPercent.cell(decimals: 2) ?? "-"
                                })
                    })),
        ]
        if mappings.isEmpty {
            blocks.append(
                .text(
                    "Not measured on this machine itself, for it gave no pages of 2 MB: \(machine.largePages)."))
        } else {
            blocks.append(
                .table(
                    Document.Table(
                        caption: "Measured on this machine: a line in each of \(Double(kernel.pages).fixed(0)) "
                            + "pages, the same bytes in the same order in pages of 4 KB and of 2 MB "
                            + "(\(machine.largePages)). Median nanoseconds a reference over batches of 64, each "
                            + "waiting for the one before: all a page's worth of misses and none of its reuse, so "
                            + "far above what a kernel sees.",
                        columns: [
                            .words("Reference"), .words("Pattern"), .number("4 KB"), .number("2 MB"), .number("Ratio"),
                        ],
                        rows: mappings.map { mapping in
                            .cells([
                                Document.Cell(mapping.reference == "data" ? "read a word" : "call a function"),
                                Document.Cell(mapping.pattern), mapping.small.cell, mapping.large.cell,
                                mapping.ratio.cell,
                            ])
                        })))
        }
        return blocks
    }

    private var entropyBlocks: [Document.Block] {
        // The kernel as it is hides nothing.
        let marks = [stock].compactMap { $0 }.map { ($0, 0.0) } + granules.map { ($0.granule, $0.targetBits) }
        let bits = Dictionary(marks, uniquingKeysWith: { first, _ in first })
        return [
            .text(
                "A larger granule leaves an attacker fewer places to guess, and costs less where a processor can "
                    + "take several pages as one."),
            .figure(
                Document.Figure(
                    caption: "Estimated slowdown against the bits that hide the place of one page, by granule (on "
                        + "top); 2M is the unpermuted kernel, which hides nothing within the image.\(more)",
                    legend: legend, hasMarks: true,
                    plots: panels(
                        xLabel: "bits a page", yLabel: "slowdown, %",
                        topMarks: marks.map { (name: $0.0, place: $0.1) }, place: { bits[$0.granule] },
                        value: \.slowdownPercent))),
        ]
    }

    private var simulationBlocks: [Document.Block] {
        models.map { model in
            var rows: [Document.Row] = []
            for workload in workloads {
                rows.append(.heading(workload.name))
                rows += simulations(workload.name, model.name).map { simulation in
                    .cells([
                        Document.Cell(simulation.granule), simulation.instructionMisses.cell(decimals: 3),
                        simulation.dataMisses.cell(decimals: 3), simulation.walks.cell(decimals: 3),
                        simulation.imageWalks.cell(decimals: 3), simulation.walkCycles.cell(decimals: 2),
                        simulation.translationCycles.cell(decimals: 2),
                        simulation.granule == stock
                            ? "-" : simulation.slowdownPercent.cell(decimals: 2),
                    ])
                }
            }
            return .table(
                Document.Table(
                    caption: "\(model.title), for 1000 instructions. Misses are of the first-level buffers; walks "
                        + "missed the second level, too; translation is walks and hits in the second level. Without "
                        + "limits: the order made no difference.",
                    columns: [
                        .words("Granule"), .number("Fetch misses"), .number("Data misses"), .number("Walks"),
                        .number("For the image"), .number("Walk cycles"), .number("Translation cycles"),
                        .number("Slowdown, %"),
                    ], rows: rows))
        }
    }

    // MARK: Method

    private var percentConfidence: String { "\((100 * Estimate.confidence).fixed(0)) %" }

    private var methodBlocks: [Document.Block] {
        var blocks: [Document.Block] = [
            .list([
                "Each order gives one value of each number, n = \(method.permutations). Of what is counted or "
                    + "simulated the mean is shown, with Student's limits for the mean of all orders, "
                    + "\(percentConfidence): ± t s / √n, n - 1 degrees of freedom (NIST/SEMATECH e-Handbook of "
                    + "Statistical Methods, 1.3.5.2; t by Abramowitz and Stegun, 26.7.3 and 26.7.4).",
                "Of times the value of an order is a percentile of its batches; the median of the orders is shown, "
                    + "with limits from order statistics, which no disturbance of the machine can widen at will: "
                    + "the k-th from either end, at least \(percentConfidence) (Hahn and Meeker, Statistical "
                    + "Intervals, 5.2). They hold noise of the machine, too. A percentile of too few batches is "
                    + "left out.",
                "Below a number and its limits stand the smallest and the largest of the orders.",
                "The orders are class-closed, with the kernel's own pins, as kperm permute draws them.",
                "The measurements of lookups are of this machine and the simulation is of the processors it names: "
                    + "the two are not added.",
                "Compressed sizes are of the whole file.",
            ]),
            .text("Assumptions of the simulation:"),
            .list([
                "walks and hits in the second-level buffer are waited for, nothing overlaps: the slowdown is at the "
                    + "upper end",
                method.caches
                    ? "entries of page tables and the program's lines go through simulated caches; misses of the "
                        + "program itself are no part of the slowdown"
                    : "caches are not simulated: an entry of a page table costs what the model says (walkReference)",
                "the linear map is where x86-64 has it without KASLR, in mappings of 2M; all else outside the image "
                    + "is mapped in single pages, the vmemmap in 2M",
                "kernel mappings are global; a switch of address space forgets user memory and the walk caches",
                "user mode leaves buffers and caches as they are, for only kernel mode is in a trace",
                "no prefetching, no speculation, no second thread on the core",
            ]),
            .text("Limits:"),
            .list([
                "A trace is a window of a workload in QEMU, on one processor, with busybox as the only program; "
                    + "another kernel at other work translates and misses differently.",
                "A second is taken for \(span(Array(Set(workloads.map(\.instructionsPerSecond))).map { $0 / 1e6 })) "
                    + "million instructions, the guest's clock.",
                "Code of modules was not searched for translations.",
                "Only the medians of warm and evicted tables bound what a kernel sees, which is between the two.",
                "How long a boot takes longer was not measured: the times above are of the work alone, in a process.",
            ]),
        ]
        blocks.append(
            .table(
                Document.Table(
                    caption: "What the slowdown of each processor is made from, in cycles. kperm simulate models "
                        + "NAME prints all of a model, with sources.",
                    columns: [.words("Processor"), .words("Number"), .number("Cycles"), .words("Source")],
                    rows: models.flatMap { model in
                        model.numbers.map { number in
                            .cells([
                                Document.Cell(model.title), Document.Cell(number.name),
                                Document.Cell(number.value.short), Document.Cell(number.source),
                            ])
                        }
                    })))
        blocks.append(
            .table(
                Document.Table(
                    caption: "Traces.",
                    columns: [.words("File"), .words("Workload"), .number("References")],
                    rows: workloads.map {
                        .cells([
                            Document.Cell($0.trace), Document.Cell($0.name),
                            Document.Cell(Double($0.references).fixed(0)),
                        ])
                    })))
        blocks.append(
            .text(
                "Seeds, derived from \(method.rootSeed), which --seed repeats. They are no secret any more: permute "
                    + "no kernel with them."))
        blocks.append(
            .table(
                Document.Table(
                    caption: "One seed an order, for each granule.", columns: [.words("Order"), .words("Seed")],
                    rows: method.seeds.enumerated().map {
                        .cells([Document.Cell("\($0 + 1)"), Document.Cell($1)])
                    })))
        return blocks
    }
}
