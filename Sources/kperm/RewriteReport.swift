// SPDX-License-Identifier: MIT

// Which translations of a kernel ask a table, and which are left as they are.

import Addressing
import HazardAudit
import KernelImage
import KernelRewrite

/// Follows a kernel's code to all that it translates.
func translationSites(of image: borrowing KernelImage) throws -> TranslationSites {
    progress("\(image.path): following the code")
    return TranslationSites(try attempt { () throws(RewriteError) in try AuditSubject.kernel(image) })
}

/// What in an original can ask a table, for a permuted image in which it does.
func rewritable(_ permuted: borrowing PermutedImage, _ original: borrowing KernelImage) throws -> [ObservedSite] {
    permuted.manifest.translations == nil ? [] : try translationSites(of: original).rewritable
}

/// The same of a kernel that permutes itself.
func rewritable(
    _ permuted: borrowing CompressedKernel, _ original: borrowing CompressedKernel
) throws -> [ObservedSite] {
    let asksTable = try attempt { () throws(RewriteError) in try permuted.lookupTable() } != nil
    return asksTable ? try translationSites(of: original.kernel).rewritable : []
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
    /// Instructions that add the offset and ask the table.
    let places: Int
    /// Of the table and the code.
    let bytes: Int
    let left: [Left]

    init(_ found: TranslationSites, _ rewriting: Rewriting) {
        var reasons: [VirtualAddress: String] = [:]
        for site in found.sites { reasons[site.address] = site.whyNotRewritten }
        for place in found.skipped { reasons[place.address] = place.reason }
        for place in rewriting.left { reasons[place.address] = place.reason }
        let names = Dictionary(found.sites.map { ($0.address, $0.place) }) { first, _ in first }
        sites = found.sites.count + found.skipped.count
        rewritten = sites - reasons.count
        places = rewriting.places.count
        bytes = rewriting.byteCount
        left = reasons.sorted { $0.key < $1.key }.map {
            Left(address: $0.description, place: names[$0] ?? "", reason: $1)
        }
    }

    func print(complete: Bool) {
        Swift.print(
            "lookups:   \(rewritten) of \(sites) translation sites ask the table, at \(places) places; \(bytes) bytes")
        for (reason, group) in Dictionary(grouping: left, by: \.reason).sorted(by: { $0.key < $1.key }) {
            Swift.print("  \(group.count) left: \(reason)")
            if complete { for site in group { Swift.print("    \(site.place) (\(site.address))") } }
        }
    }
}
