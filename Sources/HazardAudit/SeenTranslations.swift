// SPDX-License-Identifier: MIT

// What a kernel noted of its translations, and how each ends: a page that stays
// can be translated, what moves needs an explanation, and what has none is open.
// Where translations ask a table, what came out is held against the order: every
// one that gave another frame than the page's is wrong, and so is every one of a
// page that moved at a place that asks nothing.

public import Addressing
import Disassembly
import KernelImage
public import KernelRewrite
public import PagePermutation

/// A stretch of the image that one place translated.
public struct SeenTranslation: Sendable {
    public enum End: String, CaseIterable, Codable, Sendable {
        /// Its page is pinned.
        case pinned
        /// Its page stays by nature, and no percentage counts it.
        case stays
        /// Its page moves, and the rule says why that does no harm.
        case explained
        /// Its page moves.
        case open
        /// The table was asked, and its page's frame came out.
        case right
        /// Another frame than its page's came out.
        case wrong
    }

    /// Functions and offsets: the instructions that read the offset which is added.
    public let sites: [String]
    public let register: String
    /// What is translated: symbol and offset of the first address.
    public let object: String
    /// From the first address to the last; where there are several, one a page, on pages that follow each other.
    public let addresses: ClosedRange<VirtualAddress>
    public let pages: ClosedRange<Int>
    public let count: UInt64
    public let end: End
    /// The pin's, the exclusion's or the rule's.
    public let reason: String
    public let evidence: String
}

/// A translation of what moves that does no harm: data, one a line.
public struct HarmlessTranslation: Sendable {
    public let function: String
    /// Names of page classes.
    public let classes: Set<String>
    public let reason: String
    public let evidence: String

    public static let all = [
        HarmlessTranslation(
            function: "free_reserved_area", classes: ["init"],
            reason: "frees the frames of a range as a set, which a permutation within the class leaves as it is",
            evidence: "free_kernel_image_pages and free_init_pages go from __init_begin to __init_end page by page")
    ]
}

/// All that one boot showed.
public struct SeenTranslations: Sendable {
    public private(set) var entries: [SeenTranslation] = []
    /// Translations of addresses that no room was left for.
    public private(set) var lost: UInt64 = 0
    /// Places that were reached, and how often with an address of the image.
    public private(set) var placesReached = 0
    public private(set) var translated: UInt64 = 0
    /// How often a place was reached, with whatever address.
    public private(set) var reached: UInt64 = 0
    /// Translations of addresses whose page moved; 0 unless the order is known.
    public private(set) var ofMoved: UInt64 = 0
    /// Those that gave another frame than the page's, and ways back that gave another page than the frame's.
    public private(set) var wrong: UInt64 = 0

    /// - Parameters:
    ///   - pins: those asked for besides the kernel's own.
    ///   - order: for a kernel whose translations ask a table, the order that it ran with.
    public init(
        _ observations: [Instrumentation.Observation], _ subject: AuditSubject, _ kernel: KernelAnalysis,
        pins: [Pin] = [], order: TranslationTable? = nil
    ) {
        for seen in observations {
            lost += seen.lost
            reached += seen.reached
            translated += seen.ofImage
            if seen.reached > 0 { placesReached += 1 }
            let sites = seen.note.sites.map(subject.describe)
            let functions = Set(seen.note.sites.compactMap { subject.index.function(at: $0) }.map(subject.name))
            var open: [(address: VirtualAddress, count: UInt64)] = []
            var verdict: Verdict?
            func close() {
                guard let first = open.first, let last = open.last, let verdict else { return }
                entries.append(
                    SeenTranslation(
                        sites: sites, register: seen.note.register.description, object: subject.describe(first.address),
                        addresses: first.address...last.address,
                        pages: Self.page(first.address, kernel)...Self.page(last.address, kernel),
                        count: open.reduce(0) { $0 + $1.count }, end: verdict.end, reason: verdict.reason,
                        evidence: verdict.evidence))
            }
            for noted in seen.addresses where noted.count > 0 {
                let address = kernel.map.virtualBase + noted.offset
                let page = Self.page(address, kernel)
                var new = Verdict(of: page, functions, kernel, kernel.pins + pins)
                if let order {
                    let isMoved = order.forward[page] != UInt32(page)
                    if isMoved, !seen.note.isReverse { ofMoved += noted.count }
                    new.judge(noted, of: seen.note, order, isMoved: isMoved)
                    if new.end == .wrong { wrong += noted.count }
                }
                let goesOn = open.last.map { $0.address + UInt64(pageSize) == address } ?? false
                if !goesOn || new != verdict {
                    close()
                    open = []
                }
                open.append((address, noted.count))
                verdict = new
            }
            close()
        }
        entries.sort {
            ($0.sites.first ?? "", $0.addresses.lowerBound) < ($1.sites.first ?? "", $1.addresses.lowerBound)
        }
    }

    private static func page(_ address: VirtualAddress, _ kernel: KernelAnalysis) -> Int {
        kernel.map.page(of: address) ?? 0
    }

    private struct Verdict: Equatable {
        private(set) var end: SeenTranslation.End
        private(set) var reason: String
        private(set) var evidence: String

        /// Holds what came out against an order.
        mutating func judge(
            _ seen: Instrumentation.Seen, of note: Instrumentation.Note, _ order: TranslationTable, isMoved: Bool
        ) {
            guard note.asksTable else {
                guard isMoved else { return }
                (end, evidence) = (.wrong, "")
                reason =
                    note.isReverse
                    ? "made of a frame in which another page lies" : "asks no table, and the page moved"
                return
            }
            let frame = order.physicalAddress(of: order.virtualBase + seen.offset)
            if seen.others == 0, let frame, note.hasResult(seen.result, for: frame) {
                if end == .open || end == .explained {
                    (end, reason, evidence) = (.right, "the table gave the page's frame", "")
                }
            } else {
                (end, reason) = (.wrong, "another frame came out than the page's")
                evidence =
                    "\(PhysicalAddress(seen.result)) instead of \(frame?.description ?? "none")"
                    + (seen.others == 0 ? "" : ", and \(seen.others) times yet another")
            }
        }

        init(of page: Int, _ functions: Set<String>, _ kernel: KernelAnalysis, _ pins: [Pin]) {
            if let pin = pins.first(where: { $0.pages.contains(page) }) {
                (end, reason, evidence) = (.pinned, pin.reason, pin.evidence)
                return
            }
            guard let owner = kernel.classes.first(where: { $0.ranges.contains { $0.contains(page) } }) else {
                let exclusion = kernel.exclusions.first { $0.pages.contains(page) }
                (end, reason, evidence) = (.stays, exclusion?.reason ?? "in no class", "")
                return
            }
            let rule = HarmlessTranslation.all.first {
                functions.isSubset(of: [$0.function]) && $0.classes.contains(owner.name)
            }
            (end, reason, evidence) = (
                rule == nil ? .open : .explained, rule?.reason ?? "a page of \(owner.name), which moves",
                rule?.evidence ?? ""
            )
        }
    }
}
