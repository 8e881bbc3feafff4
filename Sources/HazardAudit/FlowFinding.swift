// SPDX-License-Identifier: MIT

// What a flow means: whether the bytes that get out lie in one frame, by where
// they begin, how many they are, and where pages end.

public import Addressing
import KernelImage
import KernelRewrite

/// How the objects are loaded, and what virt_to_phys says of them.
public enum FlowReading: String, Sendable, CaseIterable, Codable {
    /// In a kernel whose pages are permuted, and each translation is right.
    case image
    /// In such a kernel, but with the stock kernel's translation.
    case untranslated
    /// In a module, which is not in the linear map.
    case module
}

/// An object that gets to somebody who goes by physical addresses.
public struct FlowFinding: Sendable {
    public let severity: Rule.Severity
    public let rule: Rule
    /// The object's name, with the offset in it.
    public let object: String
    /// Its name alone.
    public let symbol: String
    public let section: String
    public let address: VirtualAddress?
    /// All of the object; nil for a stack.
    public let range: Range<VirtualAddress>?
    /// In bytes.
    public let size: UInt64
    public let crossesPage: Bool
    /// Where it gets out.
    public let site: VirtualAddress
    public let reason: String
    /// Functions with offsets, from the object to the interface.
    public let path: [String]

    var identity: String { "\(rule.name) \(object) \(site) \(severity) \(reason)" }
}

/// Says what flows mean.
struct FlowJudge {
    private let subject: AuditSubject
    private let reading: FlowReading

    init(_ subject: AuditSubject, _ reading: FlowReading) {
        self.subject = subject
        self.reading = reading
    }

    func findings(of exposure: Exposure) -> [FlowFinding] {
        exposure.starts.compactMap { start in
            switch start.origin {
            case .number: finding(exposure, start)
            case .stack: onStack(exposure, start)
            default: nil
            }
        }
    }

    private func path(_ exposure: Exposure) -> [String] { exposure.path.reversed().map(subject.describe) }

    private func onStack(_ exposure: Exposure, _ start: Root) -> FlowFinding? {
        switch exposure.rule.reach {
        case .copied, .prints, .walkPage, .walk: return nil
        default: break
        }
        guard let site = exposure.path.first else { return nil }
        // block/blk-map.c of Linux: blk_rq_map_kern copies what is on a stack.
        let isCopied = if case .eachPage = exposure.rule.reach { true } else { false }
        return FlowFinding(
            severity: isCopied ? .safe : min(.suspicious, exposure.rule.severity), rule: exposure.rule,
            object: "stack", symbol: "-", section: "", address: nil, range: nil, size: 0, crossesPage: false,
            site: site,
            reason: isCopied ? "the block layer copies what is on a stack" : "a stack is never fit for DMA",
            path: path(exposure))
    }

    private func finding(_ exposure: Exposure, _ start: Root) -> FlowFinding? {
        let address = VirtualAddress(start.offset)
        guard let section = subject.section(at: address), let site = exposure.path.first else { return nil }
        let length = Length(exposure.length)
        let symbol = subject.index.covering(address).first { $0.size > 0 }
        guard symbol != nil || !section.isWritable else { return nil }
        let count = min(max(length.most ?? 1, 1), section.range.upperBound - address)
        let object = symbol.map { $0.value..<$0.end } ?? address..<address + count
        let crosses = Self.crosses(object.lowerBound, object.upperBound - object.lowerBound)
        var (severity, reason): (Rule.Severity, String)
        if section.name.hasPrefix(".data..percpu") {
            (severity, reason) = (.safe, "per-CPU memory is allocated from the linear map")
        } else {
            (severity, reason) = judge(exposure, start, object, length)
        }
        severity = min(severity, exposure.rule.severity, exposure.ceiling)
        let name = symbol.map { subject.name(of: $0) } ?? section.name
        return FlowFinding(
            severity: severity, rule: exposure.rule,
            object: symbol == nil ? "\(section.name)+\((address - section.address).hex)" : subject.describe(address),
            symbol: name, section: section.name, address: address, range: object,
            size: object.upperBound - object.lowerBound, crossesPage: crosses, site: site, reason: reason,
            path: path(exposure))
    }

    private func judge(
        _ exposure: Exposure, _ start: Root, _ object: Range<VirtualAddress>, _ length: Length
    ) -> (Rule.Severity, String) {
        let rule = exposure.rule
        switch rule.reach {
        case .copied, .walkPage: return (.safe, rule.reason)
        case .walk: return inPages(start, object, Length(unknown: true))
        case .prints: return (reading == .image ? .safe : .suspicious, rule.reason)
        default: break
        }
        switch reading {
        case .module: return (.hazard, "a module's memory is not in the linear map: \(rule.reason)")
        case .untranslated: return (.hazard, "its page may have moved, and the translation does not know")
        case .image: break
        }
        if subject.isStill(object) { return (.safe, "its pages stay where they are") }
        switch rule.reach {
        case .eachPage, .pages: return (.safe, rule.reason)
        case .handedOut, .physical: return inPages(start, object, Length(unknown: true))
        default: break
        }
        guard let offset = exposure.offsetInPage else { return inPages(start, object, length) }
        // What counts is where they begin in whichever page it is.
        let first = VirtualAddress(start.offset & ~UInt64(pageSize - 1) &+ offset)
        return inPages(.number(first.rawValue), first..<max(object.upperBound, first + 1), length)
    }

    private static func crosses(_ start: VirtualAddress, _ count: UInt64) -> Bool {
        count > 0 && UInt64(start.offsetInPage) + count > UInt64(pageSize)
    }

    /// How many bytes get out.
    private struct Length {
        var least: UInt64?
        var most: UInt64?
        /// Other lengths that are possible, when some are known.
        var exact: [UInt64] = []
        var endsWithPage = false
        /// Nobody says: all of the object.
        var isWhole = false

        init(unknown: Bool) { isWhole = unknown }

        init(_ value: Value) {
            if !value.isOther, !value.roots.isEmpty, value.roots.allSatisfy({ $0.form == .restOfPage }) {
                endsWithPage = true
                return
            }
            exact = value.roots.filter { $0.isPlainNumber && $0.isExact && $0.offset < 1 << 32 }.map(\.offset)
            // What begins with 0 says nothing of how few there are.
            let ranges = value.roots.filter { !$0.isExact && $0.last != nil }
            if !value.isOther, exact.count + ranges.count == value.roots.count, !value.roots.isEmpty {
                least = (exact + ranges.map(\.offset)).min()
                most = (exact + ranges.compactMap(\.last)).max()
            }
        }
    }

    private func inPages(
        _ start: Root, _ object: Range<VirtualAddress>, _ length: Length
    ) -> (Rule.Severity, String) {
        if length.endsWithPage { return (.safe, "each part ends with its page") }
        let size = object.upperBound - object.lowerBound
        guard Self.crosses(object.lowerBound, size) || start.isExact else { return (.safe, "lies within a page") }
        if start.step == 1 && start.span == Root.unbounded {
            if let most = length.most, most <= 1 { return (.safe, "single bytes") }
            return (.suspicious, "crosses a page, and it is not known where in it the bytes begin")
        }
        var worst = (Rule.Severity.safe, "")
        for at in starts(start, object, length.exact.count == 1 ? length.exact[0] : 1) {
            let rest = object.upperBound - at
            let place = "\(UInt64(pageSize) - UInt64(at.offsetInPage)) bytes before the end of a page"
            if length.isWhole {
                let count = start.step > 0 && start.step % UInt64(pageSize) == 0 ? min(start.step, rest) : rest
                if Self.crosses(at, count) { return (.hazard, "\(count) bytes begin \(place)") }
                continue
            }
            if let least = length.least, Self.crosses(at, least) { return (.hazard, "\(least) bytes begin \(place)") }
            // Of several lengths one that leads out of the object is another object's.
            let fitting = length.exact.count > 1 ? length.exact.filter { $0 <= rest } : length.exact
            if let bad = fitting.first(where: { Self.crosses(at, $0) }) {
                return (.hazard, "\(bad) bytes begin \(place)")
            }
            if length.most == nil || length.exact.count < 2, Self.crosses(at, min(length.most ?? rest, rest)) {
                worst = (.suspicious, "up to \(min(length.most ?? rest, rest)) bytes begin \(place)")
            }
        }
        return worst.0 == .safe ? (.safe, "what gets out lies within a page") : worst
    }

    /// Where in an object the bytes may begin.
    private func starts(_ start: Root, _ object: Range<VirtualAddress>, _ count: UInt64) -> [VirtualAddress] {
        let first = VirtualAddress(start.offset)
        guard !start.isExact else { return [first] }
        var found: [VirtualAddress] = []
        func fits(_ at: VirtualAddress) -> Bool {
            object.contains(at) && object.upperBound - at >= count && found.count < 1 << 16
        }
        // Down by a distance or up by it is the same to what has no end.
        let step = start.span == Root.unbounded ? min(start.step, 0 &- start.step) : start.step
        var at = first
        while fits(at), start.span == Root.unbounded || at - first <= start.span {
            found.append(at)
            let (next, overflow) = at.rawValue.addingReportingOverflow(step)
            if overflow { break }
            at = VirtualAddress(next)
        }
        if start.span == Root.unbounded {
            at = first
            while at >= object.lowerBound, at - object.lowerBound >= step, found.count < 1 << 16 {
                at = VirtualAddress(at.rawValue - step)
                if fits(at) { found.append(at) }
            }
        }
        return found
    }
}
