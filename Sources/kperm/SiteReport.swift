// SPDX-License-Identifier: MIT

// What `kperm audit` says of the places where a kernel translates addresses.

import Addressing
import HazardAudit
import KernelRewrite

struct SiteReport: Encodable {
    struct Site: Encodable {
        let address: String
        let place: String
        let instruction: String
        let kind: TranslationSite.Kind
        let translated: String
        let consumers: [String]
        let result: String
        let remark: String

        init(_ site: TranslationSite) {
            address = site.address.description
            place = site.place
            instruction = site.instruction
            kind = site.kind
            translated = site.translated
            consumers = site.consumers.map(\.description)
            result = site.result
            remark = site.remark
        }
    }

    struct Skipped: Encodable {
        let address: String
        let reason: String
    }

    let total: Int
    let understood: Int
    let understoodPercent: Double
    let byKind: [String: Int]
    /// Constants whose pages nothing pins: a permutation would make their translation wrong.
    let unpinned: [Site]
    let notUnderstood: [Site]
    let skipped: [Skipped]
    /// All of them, when asked for.
    var sites: [Site]?

    init(_ found: TranslationSites, showsAll: Bool) {
        total = found.sites.count
        understood = found.sites.count(where: \.isUnderstood)
        understoodPercent = total == 0 ? 100 : 100 * Double(understood) / Double(total)
        byKind = Dictionary(grouping: found.sites, by: \.kind.rawValue).mapValues(\.count)
        unpinned = found.sites.filter { $0.isPinned == false }.map(Site.init)
        notUnderstood = found.sites.filter { !$0.isUnderstood }.map(Site.init)
        skipped = found.skipped.map { Skipped(address: $0.address.description, reason: $0.reason) }
        sites = showsAll ? found.sites.map(Site.init) : nil
    }

    /// - Parameter pinsConstants: whether pages of constants are known to be pinned.
    func print(pinsConstants: Bool) {
        Swift.print(
            "translation sites: \(total), \(understood) of them understood (\(understoodPercent.oneDecimal) %)")
        for kind in TranslationSite.Kind.allCases {
            let isUnpinned = kind == .constant && !pinsConstants
            let meaning = isUnpinned ? "translate a constant address: its pages must stay" : kind.meaning
            Swift.print("  \(byKind[kind.rawValue] ?? 0) \(meaning)")
        }
        for site in unpinned { line("constant, but its page is not pinned", site) }
        for site in notUnderstood { line("not understood: \(site.remark)", site) }
        for place in skipped { Swift.print("  skipped: \(place.address): \(place.reason)") }
        for site in sites ?? [] { line("\(site.kind.rawValue) \(site.translated), \(site.result)", site) }
    }

    private func line(_ what: String, _ site: Site) {
        Swift.print("  \(site.place) (\(site.address)) `\(site.instruction)`: \(what)")
    }
}

extension TranslationSite.Kind {
    fileprivate var meaning: String {
        switch self {
        case .constant: "translate a constant address: its pages are pinned"
        case .register: "translate one register, which holds the address from the read on: the read can look it up"
        case .shared: "are used in several places or for several addresses: each use can look its own up"
        case .reverse: "go from a physical address back to a virtual one"
        case .offset: "want the offset itself: set, stored or handed on"
        case .notUnderstood: "not understood"
        }
    }
}
