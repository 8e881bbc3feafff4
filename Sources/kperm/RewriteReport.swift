// SPDX-License-Identifier: MIT

// Which translations of a kernel ask a table, and which are left as they are.

import Addressing
import HazardAudit
import KernelImage
import KernelRewrite
import PagePermutation

/// Follows a kernel's code to all that it translates.
func translationSites(of image: borrowing KernelImage) throws -> TranslationSites {
    progress("\(image.path): following the code")
    return TranslationSites(try attempt { () throws(RewriteError) in try AuditSubject.kernel(image) })
}

/// The translations of an original, for a permuted image in which they ask a table; nil for any other.
func translations(
    _ permuted: borrowing PermutedImage, _ original: borrowing KernelImage
) throws -> Translations? {
    permuted.manifest.translations == nil ? nil : try translationSites(of: original).translations
}

/// The same of a kernel that permutes itself.
func translations(
    _ permuted: borrowing CompressedKernel, _ original: borrowing CompressedKernel
) throws -> Translations? {
    let asksTable = try attempt { () throws(RewriteError) in try permuted.lookupTable() } != nil
    return asksTable ? try translationSites(of: original.kernel).translations : nil
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
