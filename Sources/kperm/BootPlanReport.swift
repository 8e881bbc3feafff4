// SPDX-License-Identifier: MIT

// What is printed of the plan for a vmlinuz, which permutes itself.

import Addressing
import KernelImage
import KernelRewrite
import PagePermutation

/// A plan as JSON.
struct BootPlanReport: Encodable {
    let release: String?
    let architecture: String
    let when: When
    let granule: String
    let seed: String
    let pages: Int
    let counted: Int
    let pinned: Int
    let movable: Int
    let percentMovable: Double
    let moved: Int?
    let classes: [ClassReport]
    let changes: [ChangeReport]?
    let entropy: EntropyReport
    /// Whether pins were left out (--audit off).
    let leavesOutTranslated: Bool
    /// With --rewrite.
    let lookups: RewriteReport?
    /// With --modules.
    let modules: ModulesReport?

    init(_ plan: BootPlan, complete: Bool, _ lookups: RewriteReport?, _ modules: ModulesReport? = nil) throws {
        self.lookups = lookups
        self.modules = modules
        release = plan.analysis.release
        architecture = plan.analysis.architecture.name
        when = plan.when
        granule = plan.request.granule.rawValue
        seed = plan.request.seedSource
        pages = plan.analysis.map.pageCount
        counted = plan.analysis.countedPages
        pinned = plan.analysis.pinnedPages
        movable = plan.movablePages
        percentMovable = plan.percentMovable
        moved = plan.permutation?.movedCount
        classes = plan.analysis.classReports(moved: plan.permutation?.forward)
        changes = complete ? plan.changes.map { ChangeReport($0) } : nil
        entropy = try EntropyReport(plan.problem, plan.analysis, plan.request, complete: complete)
        leavesOutTranslated = plan.request.leavesOutTranslated
    }
}

extension BootPlan {
    /// Pages that may move in percent of counted pages.
    var percentMovable: Double {
        analysis.countedPages == 0 ? 0 : 100 * Double(movablePages) / Double(analysis.countedPages)
    }

    func printSummary(complete: Bool) throws {
        print("kernel:    \(analysis.release ?? "unnamed") (\(analysis.architecture.name))")
        print(
            "can move:  \(movablePages) of \(analysis.countedPages) counted pages (\(percentMovable.oneDecimal) %), "
                + "\(analysis.pinnedPages) pinned, granule \(request.granule.rawValue)")
        switch permutation {
        case .some(let permutation):
            print("drawn:     by the tool, seed \(request.seedSource): \(permutation.movedCount) pages move")
        case nil: print("drawn:     at every boot, by the boot stub")
        }
        printChanges(changes, complete: complete)
        for remark in remarks { print("note:      \(remark)") }
        if complete { try EntropyReport(problem, analysis, request, complete: true).print() }
    }
}
