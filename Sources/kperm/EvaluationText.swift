// SPDX-License-Identifier: MIT

// An evaluation for people.

import Report
import SecurityEvaluation

extension EvaluationReport {
    func print() {
        Swift.print("kernel:      \(release ?? "unnamed"), \(state), granule \(granule)")
        Swift.print("pages:       \(pages), \(counted) counted")
        Swift.print("limits:")
        for limit in limits { Swift.print("  \(limit)") }
        printClasses()
        printTargets()
        printLosses()
        printComparison()
        Swift.print("what stays, and what an attacker finds there:")
        for one in exposed {
            let shown = one.evidence.prefix(3).joined(separator: ", ") + (one.evidence.count > 3 ? ", ..." : "")
            Swift.print("  \(one.pages) pages: \(one.reason) [\(shown)]")
        }
        if let structure { printStructure(structure) }
        if let gadgets {
            Swift.print(
                "gadgets:     \(gadgets.gadgets) of up to \(GadgetFigures.longest) instructions (\(gadgets.different) "
                    + "different) before \(gadgets.ends) ends; 0 of them moved: virtual addresses stay")
        }
        guard let played else { return }
        Swift.print("played:")
        printTable(
            ["figure", "computed", "played", "bits apart"],
            played.map {
                let verdict = $0.agrees ? "" : " WRONG"
                return [$0.figure, $0.computed.text(1), $0.played.text(1), $0.differenceInBits.text(3) + verdict]
            })
    }

    private func printClasses() {
        Swift.print("classes (one page's place; guesses on average):")
        printTable(
            ["class", "pages", "move", "candidates", "bits", "min-entropy", "joint bits", "guesses", "fresh order"],
            classes.map {
                [
                    $0.name, "\($0.pages)", "\($0.movable)", "\($0.candidates)", $0.targetBits.text(2),
                    ($0.isBound ? ">= " : "") + $0.minEntropy.text(2), $0.jointBits.text(0),
                    $0.guessesSameOrder.text(1), $0.guessesFreshOrder.text(1),
                ]
            })
    }

    private func printTargets() {
        Swift.print("targets (the attacker knows where the image begins):")
        let guesses = targets.first?.chances.map(\.guesses) ?? []
        printTable(
            ["target", "class", "candidates", "bits", "with KASLR"] + guesses.map { "P(\($0))" }
                + (guesses.last.map { ["P(\($0)), fresh order"] } ?? []),
            targets.map { target in
                [
                    target.name, target.pageClass ?? "none", "\(target.candidates)", target.minEntropy.text(2),
                    target.bitsWithoutPosition.text(2),
                ]
                    + target.chances.map { ($0.sameOrder * 100).text(2) + " %" }
                    + (target.chances.last.map { [($0.freshOrder * 100).text(2) + " %"] } ?? [])
            })
        for target in targets {
            if let stays = target.stays { Swift.print("  \(target.name) stays: \(stays)") }
        }
    }

    private func printLosses() {
        Swift.print("bits of one page's place, with one demand after the other:")
        let names = classes.filter { $0.candidates > 1 }.map(\.name)
        printTable(
            ["demand"] + names + ["joint bits"],
            demands.map { demand in
                [demand.demand] + names.map { (demand.targetBits[$0] ?? 0).text(2) } + [demand.jointBits.text(0)]
            })
        Swift.print("after leaks of pages of the class (a page that leaked itself has 0 bits):")
        printTable(
            ["class", "leaked", "bits of others", "P(target leaked)", "joint bits"],
            leaks.flatMap { one in
                one.leaks.map {
                    [
                        one.name, "\($0.leaked)", ($0.isBound ? ">= " : "") + $0.bitsOfOthers.text(2),
                        ($0.targetLeaked * 100).text(2) + " %", ($0.isBound ? ">= " : "") + $0.jointBits.text(0),
                    ]
                }
            })
        Swift.print(
            "for somebody who reads physical memory and knows the image (what it holds in the file; a running kernel's own "
                + "data tell more):")
        printTable(
            ["class", "unique", "alike", "not in the file", "bits after reading all", "reads to find a page"],
            fingerprints.filter { $0.readsToFind > 0 }.map {
                [
                    $0.name, "\($0.unique)", "\($0.shared)", "\($0.unknown)", $0.bitsAfterReadingAll.text(2),
                    $0.readsToFind.text(1),
                ]
            })
    }

    private func printComparison() {
        guard !comparison.isEmpty else { return }
        Swift.print("bits of the first attempt on \(comparedTarget):")
        let threats: [(Threat, String)] = [
            (.blindWrite, "blind write"), (.deviceWrite, "DMA write"), (.readWrite, "read+write"),
            (.linearAlias, "linear alias"), (.rowhammer, "Rowhammer"), (.virtualLeak, "virtual leak"),
        ]
        printTable(
            ["defence"] + threats.map(\.1) + ["after a leak"],
            comparison.map { row in
                [row.defence] + threats.map { row.bits?[$0.0.rawValue]?.text(2) ?? "?" }
                    + [row.bitsAfterOneLeak?.text(2) ?? "?"]
            })
        for row in comparison { Swift.print("  \(row.defence): \(row.parameters). Limits: \(row.limits).") }
    }

    private func printStructure(_ structure: [ClassStructure]) {
        Swift.print("what the order kept of the linear one (and what a random one keeps on average):")
        printTable(
            ["class", "own frames", "neighbours", "longest run", "runs of that length"],
            structure.filter { $0.granules > 1 }.map {
                [
                    $0.name, "\($0.fixedPoints) (\($0.expectedFixedPoints.text(1)))",
                    "\($0.keptNeighbours) (\($0.expectedKeptNeighbours.text(1)))", "\($0.longestRun)",
                    $0.expectedRunsOfThatLength.text(6),
                ]
            })
    }
}
