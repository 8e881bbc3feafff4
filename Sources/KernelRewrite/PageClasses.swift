// SPDX-License-Identifier: MIT

// Page classes from the kernel's own section markers: a class is the set of
// pages between two of them, less what stays by nature. Pages that two classes
// share, that nothing is loaded into, or that no class covers stay.

import Addressing
import KernelImage
import PagePermutation

/// A set of pages that the kernel frees, protects or reserves as a whole: from one marker to another.
struct ClassRule: Sendable {
    let name: String
    let start: String
    let end: String
}

/// Pages that stay by nature and that no percentage counts.
struct ExclusionRule: Sendable {
    let start: String
    let end: String
    let reason: String
}

/// The page classes and exclusions of a kernel.
struct PageClasses {
    let classes: [PageClass]
    let exclusions: [Exclusion]

    init(
        _ map: PageMap, _ symbols: KernelSymbols, _ classRules: [ClassRule], _ exclusionRules: [ExclusionRule] = []
    ) throws(RewriteError) {
        var owner = [Int?](repeating: nil, count: map.pageCount)
        for (index, rule) in classRules.enumerated() {
            let start = try symbols.require(rule.start, for: "to find the \(rule.name) pages").address
            let end = try symbols.require(rule.end, for: "to find the \(rule.name) pages").address
            guard start <= end, map.virtualRange.lowerBound <= start, end <= map.virtualRange.upperBound else {
                throw .unsupported(
                    file: symbols.file, "\(rule.start) … \(rule.end) (\(start) … \(end)) do not lie in the image")
            }
            for page in map.pages(of: start..<end) {
                guard owner[page] == nil else {
                    throw .unsupported(
                        file: symbols.file,
                        "page \(page) is both \(classRules[owner[page] ?? 0].name) and \(rule.name)")
                }
                owner[page] = index
            }
        }

        var reasons = [String?](repeating: nil, count: map.pageCount)
        for rule in exclusionRules {
            guard let start = symbols.optional(rule.start)?.address, let end = symbols.optional(rule.end)?.address,
                start < end
            else { continue }
            for page in map.pages(of: start..<end) { reasons[page] = rule.reason }
        }
        if let load = symbols.optional("__per_cpu_load")?.address,
            let start = symbols.optional("__per_cpu_start")?.address,
            let end = symbols.optional("__per_cpu_end")?.address, start <= end,
            let next = symbols.optional("_sinittext")?.address, load + (end - start) < next
        {
            for page in map.pages(of: load + (end - start)..<next) where page < (map.page(of: next) ?? 0) {
                let isPadding = map.virtualBase + UInt64(page * pageSize) >= load + (end - start)
                if isPadding { reasons[page] = "padding behind the per-CPU template" }
            }
        }
        for page in 0..<map.pageCount where reasons[page] == nil {
            if map.entries[page].isGap || owner[page] == nil { reasons[page] = "alignment gap between sections" }
        }

        classes = classRules.enumerated().map { index, rule in
            PageClass(
                name: rule.name,
                ranges: Self.runs(map.pageCount) { owner[$0] == index && reasons[$0] == nil })
        }
        exclusions = Set(reasons.compactMap { $0 }).sorted().flatMap { reason in
            Self.runs(map.pageCount) { reasons[$0] == reason }.map { Exclusion(pages: $0, reason: reason) }
        }.sorted { $0.pages.lowerBound < $1.pages.lowerBound }
    }

    /// The runs of pages for which `belongs` holds.
    static func runs(_ count: Int, _ belongs: (Int) -> Bool) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var start: Int?
        for page in 0...count {
            let inside = page < count && belongs(page)
            if inside, start == nil { start = page }
            if !inside, let first = start {
                runs.append(first..<page)
                start = nil
            }
        }
        return runs
    }
}
