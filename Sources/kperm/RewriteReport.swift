// SPDX-License-Identifier: MIT

// Which translations of a kernel ask a table, and which are left as they are.

import Addressing
import HazardAudit
import KernelImage
import KernelRewrite
import PagePermutation

/// Follows a kernel's code to all that it translates.
func translationSites(of image: borrowing KernelImage) throws -> TranslationSites {
    try tableUsers(of: image, crossesClasses: false).sites
}

/// What can ask a table: all that a kernel translates and, for pages that cross classes, where it goes by ranges of
/// frames.
func tableUsers(
    of image: borrowing KernelImage, crossesClasses: Bool
) throws -> (sites: TranslationSites, translations: Translations) {
    progress("\(image.path): following the code")
    let subject = try attempt { () throws(RewriteError) in try AuditSubject.kernel(image) }
    let sites = TranslationSites(subject)
    var translations = sites.translations
    if crossesClasses {
        translations.frameTests = try attempt { () throws(RewriteError) in try FrameTests(subject, sites) }
    }
    return (sites, translations)
}

/// The translations of an original, for a permuted image in which they ask a table; nil for any other.
func translations(
    _ permuted: borrowing PermutedImage, _ original: borrowing KernelImage
) throws -> Translations? {
    if permuted.manifest.translations == nil { return nil }
    return try tableUsers(of: original, crossesClasses: permuted.manifest.crossClass == true).translations
}

/// The same of a kernel that permutes itself.
func translations(
    _ permuted: borrowing CompressedKernel, _ original: borrowing CompressedKernel
) throws -> Translations? {
    let asksTable = try attempt { () throws(RewriteError) in try permuted.lookupTable() } != nil
    return asksTable ? try translationSites(of: original.kernel).translations : nil
}

/// What pages that cross classes take besides.
struct CrossClassReport: Encodable {
    struct Place: Encodable {
        let address: String
        let reason: String
    }

    /// Classes that trade pages.
    let classes: [String]
    /// Places that ask which page a frame holds.
    let mended: [Place]
    /// Places that are right without, with their functions.
    let harmless: [RewriteReport.Left]

    init?(_ plan: RewritePlan) {
        guard let tests = plan.rewriting?.frameTests else { return nil }
        let mixed = plan.problem.classes.first.map { Set($0.ranges.joined()) } ?? []
        classes = plan.analysis.classes.filter { $0.ranges.joined().allSatisfy(mixed.contains) }.map(\.name)
        mended = tests.steps.map { Place(address: $0.look.place.description, reason: $0.reason) }
        harmless = tests.harmless.map {
            RewriteReport.Left(address: $0.address.description, place: $0.place, reason: $0.reason)
        }
    }

    func print(complete: Bool) {
        Swift.print("crossing:  pages of \(classes.joined(separator: ", ")) trade places")
        Swift.print(
            "  \(mended.count) places that went by ranges of frames ask what lies in a frame; \(harmless.count) are right "
                + "without")
        guard complete else { return }
        for place in mended { Swift.print("    \(place.address): \(place.reason)") }
        for place in harmless { Swift.print("    \(place.place) (\(place.address)): \(place.reason)") }
    }
}

struct RewriteReport: Encodable {
    struct Left: Encodable {
        let address: String
        let place: String
        let reason: String
    }

    let sites: Int
    /// Sites all of whose translations ask the table.
    let rewritten: Int
    /// Sites that translate nothing that moves.
    let proven: Int
    /// Of both, of all sites.
    let percent: Double
    /// Instructions that add the offset and ask the table.
    let places: Int
    /// Where the table begins, and the code behind it, as linked.
    let table: String
    let code: String
    /// Of the table and the code.
    let bytes: Int
    let left: [Left]
    let provenSites: [Left]
    /// Pages that are pinned without the table.
    let releasedPages: Int
    let released: [Released]
    let whyNoneReleased: String?

    struct Released: Encodable {
        let pin: PinReport
        /// Who asks the table for its frames.
        let askers: [String]
    }

    init(_ found: TranslationSites, _ rewriting: Rewriting, _ analysis: KernelAnalysis) {
        releasedPages = analysis.releasedPages.reduce(0) { $0 + $1.count }
        released = analysis.released.map { Released(pin: PinReport($0.pin), askers: $0.users) }
        whyNoneReleased = analysis.whyNoneReleased
        var reasons: [VirtualAddress: String] = [:]
        let proofs = Dictionary(found.sites.map { ($0.address, $0.proof) }) { first, _ in first }.compactMapValues {
            $0
        }
        for site in found.sites where site.proof == nil { reasons[site.address] = site.whyNotRewritten }
        for place in found.skipped { reasons[place.address] = place.reason }
        for place in rewriting.left { reasons[place.address] = place.reason }
        let names = Dictionary(found.sites.map { ($0.address, $0.place) }) { first, _ in first }
        sites = found.sites.count + found.skipped.count
        proven = proofs.count
        rewritten = sites - reasons.count - proven
        percent = sites == 0 ? 100 : 100 * Double(rewritten + proven) / Double(sites)
        places = rewriting.places.count
        table = rewriting.table.lowerBound.description
        code = rewriting.table.upperBound.description
        bytes = rewriting.byteCount
        func list(_ reasons: [VirtualAddress: String]) -> [Left] {
            reasons.sorted { $0.key < $1.key }.map {
                Left(address: $0.description, place: names[$0] ?? "", reason: $1)
            }
        }
        left = list(reasons)
        provenSites = list(proofs)
    }

    func print(complete: Bool) {
        Swift.print(
            "lookups:   \(rewritten) of \(sites) translation sites ask the table, at \(places) places; \(proven) translate "
                + "nothing that moves; \(left.count) left (\(percent.oneDecimal) % done); \(bytes) bytes")
        for (word, sites) in [("need not", provenSites), ("left", left)] {
            for (reason, group) in Dictionary(grouping: sites, by: \.reason).sorted(by: { $0.key < $1.key }) {
                Swift.print("  \(group.count) \(word): \(reason)")
                if complete { for site in group { Swift.print("    \(site.place) (\(site.address))") } }
            }
        }
        Swift.print(
            "released:  \(releasedPages) pages that are pinned where nothing asks"
                + (whyNoneReleased.map { ": \($0)" } ?? ""))
        for one in released where complete {
            Swift.print(
                "  \(one.pin.first)…\(one.pin.last): \(one.pin.reason) (\(one.pin.evidence)); now asks: "
                    + one.askers.joined(separator: ", "))
        }
    }
}
