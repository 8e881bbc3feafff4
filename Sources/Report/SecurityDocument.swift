// SPDX-License-Identifier: MIT

// What the security report says, in the order that its reader must have it: what a
// permutation does not protect, then threat by threat what it does, then other
// defences, the attacks that were run, and the figures with how they were made.

import SecurityEvaluation

extension SecurityReport {
    /// The report for a reader.
    public var document: Document {
        var document = Document(
            title: "What permuting \(kernelName) buys",
            subtitle: "\(architecture), \(evaluation.pages.grouped) pages, \(evaluation.counted.grouped) counted, "
                + "granule \(evaluation.granule); \(stateInWords). \(generated), by kperm \(tool).",
            facts: facts,
            sections: [
                Document.Section(title: "Threat by threat", blocks: threatBlocks),
                Document.Section(title: "Beside other defences", blocks: comparisonBlocks),
                Document.Section(title: "Attacks that were run", blocks: attackBlocks),
                Document.Section(title: "Guessing", blocks: guessingBlocks),
                Document.Section(title: "After leaks, and after reading", blocks: leakBlocks),
                Document.Section(title: "Where pages lie", blocks: mapBlocks),
                Document.Section(title: "What stays, and what that costs", blocks: costBlocks),
                Document.Section(title: "Method, checks and assumptions", blocks: methodBlocks),
            ])
        document.first = Document.Section(title: "What it does not protect", blocks: [.list(limits)])
        return document
    }

    private var file: String { evaluation.file.split(separator: "/").last.map(String.init) ?? evaluation.file }
    private var kernelName: String { evaluation.release ?? file }

    private var stateInWords: String {
        switch evaluation.state {
        case "original": "not permuted: what kperm permute would make of it"
        case let state: state
        }
    }

    // MARK: Limits

    private var limits: [String] {
        var limits = failures.map { "Something is wrong: \($0)." }
        limits += evaluation.limits
        if let gadgets = evaluation.gadgets {
            limits.append(
                "Gadgets: \(gadgets.gadgets.grouped) of up to \(GadgetFigures.longest) instructions in the image's code, "
                    + "\(gadgets.different.grouped) of them different. 0 of them moved.")
        }
        let known = evaluation.fingerprints.reduce(0) { $0 + $1.unique }
        let all = evaluation.fingerprints.reduce(0) { $0 + $1.unique + $1.shared + $1.unknown }
        if all > 0 {
            limits.append(
                "Of \(all.grouped) pages that move, \(known.grouped) have contents of their own in the public file: whoever "
                    + "may read finds any of them, after half of its class on average.")
        }
        let staying = evaluation.targets.filter { $0.stays != nil }.map(\.name)
        if !staying.isEmpty {
            limits.append("Pinned, so no harder to find than before: \(staying.joined(separator: ", ")).")
        }
        switch evaluation.state {
        case "drawn at build":
            limits.append(
                "This image has one order, the same at every boot, until it is permuted again: a wrong guess that "
                    + "crashes it teaches, and whoever reads the file knows all.")
        case "drawn at boot":
            limits.append(
                "Every boot draws anew; within one boot the order stays, so wrong guesses that crash nothing teach.")
        default: break
        }
        limits.append(
            attacks.isEmpty
                ? "No attack was run for this report: its figures are computed."
                : "Attacks were run in QEMU, by writing into its memory, not on hardware; so few boots bound a rate, they "
                    + "do not measure it.")
        return limits
    }

    // MARK: At the top

    private var compared: EvaluationReport.Target? {
        evaluation.targets.first { $0.name == evaluation.comparedTarget }
    }

    private var facts: [Document.Fact] {
        var facts: [Document.Fact] = []
        if let target = compared {
            facts.append(
                Document.Fact(
                    value: "\(Self.bits(target.minEntropy, target.isBound)) bits",
                    label: "hide where \(target.name) lies from a blind write: one of "
                        + "\(target.candidates.grouped) frames, \(target.expectedGuessesSameOrder.fixed(1)) guesses on "
                        + "average"))
        }
        facts.append(
            Document.Fact(value: "0 bits", label: "against whoever reads physical memory, or has a virtual address"))
        for isPermuted in [false, true] {
            let blind = attacks.filter { $0.isBlind && $0.isPermuted == isPermuted }
            guard !blind.isEmpty else { continue }
            let count = HitCount(blind.reduce(0) { $0 + $1.count.hits }, of: blind.reduce(0) { $0 + $1.count.trials })
            facts.append(
                Document.Fact(
                    value: "\(count.hits) of \(count.trials)",
                    label: "blind writes worked on \(isPermuted ? "the permuted" : "the stock") kernel, really run"))
        }
        let stays = evaluation.counted - evaluation.classes.reduce(0) { $0 + $1.movable }
        facts.append(
            Document.Fact(
                value: "\(stays.grouped) of \(evaluation.counted.grouped)",
                label: "counted pages stay where the public image says"))
        return facts
    }

    static func bits(_ bits: Double, _ isBound: Bool = false) -> String { (isBound ? "≥ " : "") + bits.fixed(2) }

    // MARK: Threats

    private func row(_ defence: String) -> DefenceRow? { evaluation.comparison.first { $0.defence == defence } }

    private var threatBlocks: [Document.Block] {
        guard let target = compared, let kperm = row(DefenceRow.kperm), let both = row(DefenceRow.kpermWithKASLR),
            let none = row(DefenceRow.none), let kaslr = row(DefenceRow.physicalKASLR)
        else { return [.text("No target to compare threats for: name one that the image has.")] }
        func cells(
            _ name: String, _ bits: (DefenceRow) -> Double?, _ isRun: (Attack) -> Bool, _ left: String
        ) -> Document.Row {
            let own = bits(kperm)
            return .cells(
                [Document.Cell(name)]
                    + [bits(none), bits(kaslr), own, bits(both)].map { Document.Cell($0.map { $0.fixed(2) } ?? "?") }
                    + [
                        Document.Cell(own.map { $0 == 0 ? "100 %" : Self.chance($0) } ?? "?"),
                        Document.Cell(Self.runs(attacks.filter { $0.isPermuted && isRun($0) })), Document.Cell(left),
                    ])
        }
        var rows = Threat.allCases.map { threat in
            cells(threat.rawValue, { $0.bits?[threat.rawValue] }, { $0.isOf(threat) }, left(threat, target))
        }
        rows.append(
            cells(
                "blind write, after the place of one other page of the class has leaked", \.bitsAfterOneLeak,
                { $0.kind == "leak" && $0.leaked == 1 && $0.prediction < 1 },
                "a page whose own place leaked has no bits left; the others lose next to nothing"))
        return [
            .text(
                "Bits that the first attempt on \(target.name)"
                    + (target.use.map { " (\($0))" } ?? "") + " faces. With KASLR the attacker knows neither where "
                    + "the image begins nor the order; without, its position is his. The bits of both do not add up: one "
                    + "frame of memory may hold the page with the image in several places."),
            .table(
                Document.Table(
                    caption:
                        "A row a threat. Bits are -log2 of the chance of the likeliest place; the chance is of "
                        + "one attempt, the image's position known. Really run: on permuted kernels, with Wilson's 95 % "
                        + "interval.",
                    columns: [
                        .words("Threat"), .number("No defence"), .number("KASLR"), .number("kperm"),
                        .number("kperm + KASLR"), .number("Chance with kperm"), .words("Really run"),
                        .words("What is left to the attacker"),
                    ], rows: rows)),
        ]
    }

    private static func chance(_ bits: Double) -> String { "1 in \(bits.powerOfTwo.short)" }

    private static func runs(_ attacks: [Attack]) -> String {
        let all = attacks.map { attack in
            let interval = attack.count.interval
            let refused = attack.refused == attack.count.trials ? ", refused by the kernel's own mapping" : ""
            return "\(attack.target) \(attack.count.hits) of \(attack.count.trials) "
                + "(\(interval.lowerBound.percent) to \(interval.upperBound.percent))\(refused)"
        }
        return all.isEmpty ? "-" : all.joined(separator: "; ")
    }

    private func left(_ threat: Threat, _ target: EvaluationReport.Target) -> String {
        switch threat {
        case .blindWrite:
            "pinned pages and page tables, which need no guess; guessing, and whatever a wrong guess destroys"
        case .deviceWrite: "the same; a device that may read, too, is a reader"
        case .readWrite: "everything: contents tell pages apart, page tables and the table itself lie in memory"
        case .linearAlias: "guessing a frame, as above; the kernel's own mapping decides what may be written there"
        case .rowhammer: "bits flip as ever; what lies in the frame is not known beforehand"
        case .virtualLeak: "everything: no virtual address moves"
        }
    }

    // MARK: Comparison

    private var comparisonBlocks: [Document.Block] {
        let threats: [(threat: Threat, title: String)] = [
            (.blindWrite, "Blind write"), (.deviceWrite, "DMA write"), (.readWrite, "Read and write"),
            (.linearAlias, "Linear alias"), (.rowhammer, "Rowhammer"), (.virtualLeak, "Virtual leak"),
        ]
        guard !evaluation.comparison.isEmpty else { return [.text("No target to compare defences for.")] }
        return [
            .table(
                Document.Table(
                    caption:
                        "Bits that the first attempt on \(evaluation.comparedTarget) faces, under each threat; after a "
                        + "leak: bits left for another page or function once the place of one is known.",
                    columns: [.words("Defence")] + threats.map { .number($0.title) } + [.number("After a leak")],
                    rows: evaluation.comparison.map { row in
                        .cells(
                            [Document.Cell(row.defence)]
                                + threats.map {
                                    Document.Cell(row.bits?[$0.threat.rawValue].map { $0.fixed(2) } ?? "?")
                                }
                                + [Document.Cell(row.bitsAfterOneLeak.map { $0.fixed(2) } ?? "?")])
                    })),
            .table(
                Document.Table(
                    caption: "What these are computed from, and what each does not protect.",
                    columns: [.words("Defence"), .words("Computed from"), .words("Does not protect")],
                    rows: evaluation.comparison.map {
                        .cells([Document.Cell($0.defence), Document.Cell($0.parameters), Document.Cell($0.limits)])
                    })),
        ]
    }

    // MARK: Attacks

    private var attackBlocks: [Document.Block] {
        guard !attacks.isEmpty else {
            return [
                .text(
                    "None. kperm evaluate attack boots the kernel and attacks its memory; what it prints with --json is "
                        + "for --attacks.")
            ]
        }
        var rows: [Document.Row] = []
        for isPermuted in [false, true] {
            let own = attacks.filter { $0.isPermuted == isPermuted }
            if !own.isEmpty { rows.append(.heading(isPermuted ? "Permuted" : "Stock")) }
            rows += own.map { attack in
                let interval = attack.count.interval
                return .cells([
                    Document.Cell(attack.words), Document.Cell(attack.pageClass), Document.Cell(attack.frames.grouped),
                    Document.Cell((attack.isExact ? "" : "≈ ") + attack.prediction.percent),
                    Document.Cell("\(attack.count.hits) of \(attack.count.trials)"),
                    Document.Cell("\(interval.lowerBound.percent) to \(interval.upperBound.percent)"),
                    Document.Cell(attack.holdsPrediction ? "yes" : "no"),
                    Document.Cell(attack.count.chance(at: attack.prediction).percent),
                    Document.Cell("\(attack.crashed)"), Document.Cell("\(attack.refused + attack.notFound)"),
                    Document.Cell(attack.secondsPerBoot.short),
                ])
            }
        }
        let held = attacks.count(where: \.holdsPrediction)
        var blocks: [Document.Block] = [
            .text(
                "The guest says what it sees, is stopped, gets a few bytes written into its memory past its own mappings, "
                    + "and goes on; the attack has worked when userspace sees the effect. The attacker is given the "
                    + "physical base of the image, so that the permutation alone is measured. \(held) of "
                    + "\(attacks.count) intervals hold their prediction; by chance one of twenty does not. No hit in so few "
                    + "boots is what a chance of one in thousands predicts, and proves no more than the interval says."),
            .intervals(
                IntervalFigure(
                    title: "Share of boots in which the attack worked",
                    caption: "Dot and bar: the rate and Wilson's 95 % interval; upright stroke: the prediction.",
                    rows: attacks.map { attack in
                        IntervalFigure.Row(
                            label: "\(attack.isPermuted ? "permuted" : "stock"): \(attack.shortName)",
                            rate: Double(attack.count.hits) / Double(attack.count.trials),
                            interval: attack.count.interval, prediction: attack.prediction,
                            colour: attack.isPermuted ? 0 : 1)
                    })),
            .table(
                Document.Table(
                    caption: "Boots that were attacked. Chance: of so many hits or more, or so many or fewer, at the "
                        + "predicted rate. Nothing written: the kernel's own mapping refused, or nothing that was read was "
                        + "the page.",
                    columns: [
                        .words("Attack"), .words("Class"), .number("Frames"), .number("Predicted"), .number("Worked"),
                        .number("Wilson, 95 %"), .words("Holds it"), .number("Chance"), .number("Crashed"),
                        .number("Nothing written"), .number("Seconds a boot"),
                    ], rows: rows)),
        ]
        let unnamed = attacks.filter { !$0.namesKernel }.flatMap(\.files)
        if !unnamed.isEmpty {
            blocks.append(
                .text(
                    "\(unnamed.count) of \(attacks.reduce(0) { $0 + $1.files.count }) files of results do not name their "
                        + "kernel. They are taken for this one's, for class, number of frames, place in the page and "
                        + "prediction are the same."))
        }
        return blocks
    }
}

extension SecurityReport.Attack {
    /// Without any knowledge of the order.
    fileprivate var isBlind: Bool { ["modprobe-path", "core-pattern", "text"].contains(kind) }

    /// DMA writes and Rowhammer hit a frame as a blind write does, but were not run as such.
    fileprivate func isOf(_ threat: Threat) -> Bool {
        switch threat {
        case .blindWrite: isBlind
        case .linearAlias: kind == "alias"
        case .readWrite: kind == "fingerprint"
        case .deviceWrite, .rowhammer, .virtualLeak: false
        }
    }

    fileprivate var shortName: String {
        switch kind {
        case "alias": "linear alias, \(target)"
        case "leak" where prediction >= 1: "its place leaked, \(target)"
        case "leak": "\(leaked) leaked, \(target)"
        case "fingerprint": "\(reads) read, \(target)"
        default: "blind, \(target)"
        }
    }
}
