// SPDX-License-Identifier: MIT

// The figures of the security report: guesses, leaks, the map of pages, what stays,
// and how all of it was made.

import Glibc
import SecurityEvaluation

extension SecurityReport {
    /// Classes in which something moves, as many as can be told apart.
    private var plotted: [ClassFigures] {
        Array(evaluation.classes.filter { $0.candidates > 1 }.prefix(Plot.mostSeries - 1))
    }

    // MARK: Guessing

    var guessingBlocks: [Document.Block] {
        let end = pow(10, log10(4 * Double(plotted.map(\.candidates).max() ?? 2)).rounded(.up))
        let counts = Self.steps(to: end)
        let plots = [(AfterMiss.sameOrder, "The order stays"), (.freshOrder, "Every miss draws another order")].map {
            after, title in
            Plot(
                title: title, xLabel: "guesses", yLabel: "chance of success", logarithmicX: 1...end,
                xMarks: Self.decades(to: end), hasMarks: false,
                series: plotted.enumerated().map { index, figures in
                    Plot.Series(
                        number: index,
                        points: counts.map { Plot.Point(Double($0), figures.success(within: $0, after)) })
                })
        }
        let guesses = evaluation.targets.first?.chances.map(\.guesses) ?? []
        return [
            .figure(
                Document.Figure(
                    caption:
                        "The chance that one of so many guesses finds one page, by its class. Left: nothing crashes, "
                        + "or the order is baked into the image, so no frame is tried twice. Right: every wrong guess "
                        + "crashes a kernel that draws at boot.",
                    legend: plotted.map(\.name), hasMarks: false, plots: plots)),
            .table(
                Document.Table(
                    caption:
                        "What is known to be written by attacks, or was asked for. Bits: of the likeliest place, where "
                        + "the image begins being known, and not known.",
                    columns: [
                        .words("Target"), .words("Class"), .number("Frames"), .number("Bits"), .number("With KASLR"),
                        .number("Guesses on average"), .number("Another order each time"),
                    ] + guesses.map { .number("In \($0.grouped)") } + [.words("Wanted for, or why it stays")],
                    rows: evaluation.targets.map { target in
                        .cells(
                            [
                                Document.Cell(target.name), Document.Cell(target.pageClass ?? "none"),
                                Document.Cell(target.candidates.grouped),
                                Document.Cell(Self.bits(target.minEntropy, target.isBound)),
                                Document.Cell(target.bitsWithoutPosition.fixed(2)),
                                Document.Cell(target.expectedGuessesSameOrder.fixed(1)),
                                Document.Cell(target.expectedGuessesFreshOrder.fixed(1)),
                            ] + target.chances.map { Document.Cell($0.sameOrder.percent) } + [
                                Document.Cell(target.stays.map { "stays: \($0)" } ?? target.use ?? "-")
                            ])
                    })),
            .table(
                Document.Table(
                    caption: "By class. Counted are places that a page may really have, pins left out. The bits of the "
                        + "order as a whole are what no single attack faces.",
                    columns: [
                        .words("Class"), .number("Pages"), .number("Can move"), .number("Places"),
                        .number("Bits a page"),
                        .number("Min-entropy"), .number("Bits of the order"), .number("Guesses on average"),
                        .number("Another order each time"),
                    ],
                    rows: evaluation.classes.map { figures in
                        .cells([
                            Document.Cell(figures.name), Document.Cell(figures.pages.grouped),
                            Document.Cell(figures.movable.grouped), Document.Cell(figures.candidates.grouped),
                            Document.Cell(figures.targetBits.fixed(2)),
                            Document.Cell(Self.bits(figures.minEntropy, figures.isBound)),
                            Document.Cell(figures.jointBits.fixed(0)), Document.Cell(figures.guessesSameOrder.fixed(1)),
                            Document.Cell(figures.guessesFreshOrder.fixed(1)),
                        ])
                    })),
        ]
    }

    /// Whole numbers from 1 to `end`, a tenth or one apart.
    private static func steps(to end: Double) -> [Int] {
        var steps = [1]
        while let last = steps.last, Double(last) < end { steps.append(min(max(last + 1, last * 11 / 10), Int(end))) }
        return steps
    }

    private static func decades(to end: Double) -> [(name: String, place: Double)] {
        var decades: [(name: String, place: Double)] = []
        var place = 1.0
        while place <= end {
            decades.append((place.fixed(0), place))
            place *= 10
        }
        return decades
    }

    // MARK: Leaks

    var leakBlocks: [Document.Block] {
        let most = plotted.map(\.candidates).max() ?? 1
        let position = evaluation.kaslr.physicalBits
        let top = (max(position, plotted.map(\.targetBits).max() ?? 1) + 0.5).rounded(.up)
        /// KASLR, whose one number is gone with one leak.
        let kaslr = Plot.Series(
            number: plotted.count,
            points: [Plot.Point(0, position), Plot.Point(1, 0), Plot.Point(Double(most), 0)])
        func plot(_ title: String, _ bits: (LeakFigures) -> Double) -> Plot {
            Plot(
                title: title, xLabel: "leaked pages of the class", yLabel: "bits left", hasMarks: false, yEnd: top,
                series: plotted.enumerated().map { index, figures in
                    Plot.Series(
                        number: index,
                        points: Self.leaks(figures.candidates).map {
                            Plot.Point(
                                Double($0), bits(LeakFigures(figures, leaked: $0)))
                        })
                } + [kaslr])
        }
        return [
            .text(
                "Whoever chooses what leaks takes the page he wants, and needs no second: that page has no bits left. The "
                    + "others hardly lose any until few are left. KASLR's whole secret is gone with the first."),
            .figure(
                Document.Figure(
                    caption:
                        "Bits of one page's place once the places of so many pages of its class are known. Left: it is "
                        + "not one of them. Right: pages leak at random, itself perhaps.",
                    legend: plotted.map(\.name) + ["KASLR, physical"], hasMarks: false,
                    plots: [
                        plot("A page that did not leak", \.bitsOfOthers),
                        plot("On average over random leaks", \.averageBits),
                    ])),
            .table(
                Document.Table(
                    caption: "After so many leaks, of pages drawn at random.",
                    columns: [
                        .words("Class"), .number("Leaked"), .number("Chance that the target did"),
                        .number("Bits of the others"), .number("Bits on average"), .number("Bits of the order"),
                    ],
                    rows: evaluation.leaks.flatMap { one in
                        one.leaks.map {
                            .cells([
                                Document.Cell(one.name), Document.Cell($0.leaked.grouped),
                                Document.Cell($0.targetLeaked.percent),
                                Document.Cell(Self.bits($0.bitsOfOthers, $0.isBound)),
                                Document.Cell(Self.bits($0.averageBits, $0.isBound)),
                                Document.Cell(($0.isBound ? "≥ " : "") + $0.jointBits.fixed(0)),
                            ])
                        }
                    })),
            .table(
                Document.Table(
                    caption:
                        "For somebody who reads physical memory and knows the public image. Alike: several pages of "
                        + "the class have the same contents in the file; not in the file: the kernel makes their contents. "
                        + "The file alone does not tell these apart; what a running kernel puts there may.",
                    columns: [
                        .words("Class"), .number("Contents of their own"), .number("Alike"), .number("Not in the file"),
                        .number("Bits after reading all"), .number("Reads to find a page"),
                    ],
                    rows: evaluation.fingerprints.filter { $0.readsToFind > 0 }.map {
                        .cells([
                            Document.Cell($0.name), Document.Cell($0.unique.grouped), Document.Cell($0.shared.grouped),
                            Document.Cell($0.unknown.grouped), Document.Cell($0.bitsAfterReadingAll.fixed(2)),
                            Document.Cell($0.readsToFind.fixed(1)),
                        ])
                    })),
        ]
    }

    /// Numbers of leaked pages, closer together where few pages are left.
    private static func leaks(_ candidates: Int) -> [Int] {
        steps(to: Double(candidates)).map { candidates - $0 }.reversed() + [candidates]
    }

    // MARK: The map

    var mapBlocks: [Document.Block] {
        var before: [Int: [(page: Int, frame: Int)]] = [:]
        var after = before
        let stays = plotted.count
        /// By a class's number in the evaluation, its number in the legend.
        let numbers = Dictionary(
            uniqueKeysWithValues: plotted.enumerated().compactMap { number, figures in
                evaluation.classes.firstIndex(of: figures).map { ($0, number) }
            })
        for (index, (frame, pageClass)) in zip(map.frames, map.pageClasses).enumerated() {
            let (page, number) = (index * map.step, numbers[pageClass] ?? stays)
            before[number, default: []].append((page, page))
            after[number, default: []].append((page, frame))
        }
        let each = map.step == 1 ? "every page" : "one page of \(map.step)"
        let own = evaluation.structure
        return [
            .dots(
                DotFigure(
                    caption:
                        "A dot for \(each), the first on: across, the page of the image; up, the frame that it lies "
                        + "in, counted from the image's own physical base. A class keeps to its own frames, so that the "
                        + "kernel may free and protect them as ever; what stays is on the diagonal. The order is an "
                        + "example, drawn by this image's plan from the seed below, which is no secret.",
                    legend: plotted.map(\.name) + ["stays"], lastIsPale: true, xLabel: "page of the image",
                    yLabel: "frame",
                    size: evaluation.pages,
                    maps: [
                        DotFigure.Map(title: "Before", dots: before), DotFigure.Map(title: "After", dots: after),
                    ])),
            .table(
                Document.Table(
                    caption:
                        "What is left of the linear order, \(own == nil ? "in that example" : "in this image's order")"
                        + ", and in parentheses what a random order keeps on average.",
                    columns: [
                        .words("Class"), .number("Pieces that move"), .number("In their own frames"),
                        .number("Neighbours kept"), .number("Longest run"), .number("Runs of that length expected"),
                    ],
                    rows: (own ?? map.structure).filter { $0.granules > 1 }.map {
                        .cells([
                            Document.Cell($0.name), Document.Cell($0.granules.grouped),
                            Document.Cell("\($0.fixedPoints)", limits: "(\($0.expectedFixedPoints.short))"),
                            Document.Cell("\($0.keptNeighbours)", limits: "(\($0.expectedKeptNeighbours.short))"),
                            Document.Cell("\($0.longestRun)"),
                            Document.Cell($0.longestRun > 1 ? $0.expectedRunsOfThatLength.short : "-"),
                        ])
                    })),
        ]
    }

    // MARK: Costs

    var costBlocks: [Document.Block] {
        let classes = evaluation.classes.filter { $0.candidates > 1 }
        return [
            .table(
                Document.Table(
                    caption:
                        "Pages that stay where the public image says, and what an attacker finds there. A page may have "
                        + "several reasons, or lie outside of what is counted.",
                    columns: [.words("Why"), .number("Pages"), .words("What, for example")],
                    rows: evaluation.exposed.map {
                        let more = $0.evidence.count > 3 ? ", and \($0.evidence.count - 3) more" : ""
                        return .cells([
                            Document.Cell($0.reason), Document.Cell($0.pages.grouped),
                            Document.Cell($0.evidence.prefix(3).joined(separator: ", ") + more),
                        ])
                    })),
            .table(
                Document.Table(
                    caption: "Bits of one page's place, with one demand after the other.",
                    columns: [.words("Demand")] + classes.map { .number($0.name) } + [.number("Bits of the order")],
                    rows: evaluation.demands.map { demand in
                        .cells(
                            [Document.Cell(demand.demand)]
                                + classes.map { Document.Cell(demand.targetBits[$0.name].map { $0.fixed(2) } ?? "-") }
                                + [Document.Cell(demand.jointBits.fixed(0))])
                    })),
        ]
    }

    // MARK: Method

    var methodBlocks: [Document.Block] {
        let kaslr = evaluation.kaslr
        var blocks: [Document.Block] = [
            .list([
                "The attacker knows the public image, all pins, classes and glue, and kperm; he does not know the seed.",
                "A page is guessed by its frame: bits are -log2 of the chance of the likeliest one. Expected guesses: "
                    + "(N + 1) / 2 of N equally likely places where none is tried twice, N where every miss draws anew.",
                "Glued pages have fewer places; where several runs share a class, figures are bounds on the safe side (≥).",
                "KASLR: \(kaslr.physical.grouped) physical and \(kaslr.virtual.grouped) virtual slots of "
                    + "\((Int(kaslr.alignment) >> 10).grouped) KiB for this image in \((Int(kaslr.memory) >> 20).grouped) "
                    + "MiB of memory in one piece. One frame may hold a page with the image in several slots, so the bits of both do "
                    + "not add up. The linear map's own places are those of x86-64 with four levels of page tables, where the "
                    + "image draws one; else it is taken as known.",
                "Intervals of attacks are Wilson's, at 95 %.",
                "The image's build: \(build ?? "it does not say").",
                "Gadgets are counted by decoding from every byte of the code before each return and each indirect jump or "
                    + "call through a register, as tools for return-oriented programming do.",
            ])
        ]
        if let played = evaluation.played {
            let worst = played.map(\.differenceInBits).max() ?? 0
            blocks.append(
                .table(
                    Document.Table(
                        caption: "The figures, played: attacks on drawn orders, and guess after guess. At most "
                            + "\(worst.fixed(3)) bits apart; \(PlayedFigure.tolerance) would be a failure.",
                        columns: [
                            .words("Figure"), .number("Computed"), .number("Played"), .number("Bits apart"),
                        ],
                        rows: played.map {
                            .cells([
                                Document.Cell($0.figure), Document.Cell($0.computed.fixed(1)),
                                Document.Cell($0.played.fixed(1)),
                                Document.Cell($0.differenceInBits.fixed(3), limits: $0.agrees ? nil : "WRONG"),
                            ])
                        })))
        } else {
            blocks.append(.text("Left out (--quick): gadgets, figures checked by playing attacks, tests of orders."))
        }
        if let randomness {
            blocks.append(
                .table(
                    Document.Table(
                        caption:
                            "Whether all orders are as likely as each other: \(randomness.draws.grouped) orders of "
                            + "\(randomness.pages.grouped) pages, by the algorithm that kperm and its boot stub draw by. "
                            + "A test fails below p = \(randomness.limit).",
                        columns: [.words("Test"), .number("p"), .words("Passes")],
                        rows: randomness.tests.map {
                            .cells([
                                Document.Cell($0.name), Document.Cell($0.p.short),
                                Document.Cell($0.passes ? "yes" : "NO"),
                            ])
                        })))
        }
        blocks.append(
            .text(
                "Seed of the map, the played attacks and the tested orders: \(map.seed). It is no secret: permute no kernel "
                    + "with it."))
        return blocks
    }
}
