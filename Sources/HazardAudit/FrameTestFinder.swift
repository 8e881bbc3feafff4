// SPDX-License-Identifier: MIT

// Finds where a kernel goes by ranges of frames. Each such place reads the offset
// between virtual and physical addresses, so it is a translation site that does
// not ask the table; FrameRules.swift says which there may be. The ends of a range
// are followed from where the offset is added to them, without a branch taken, to
// where something is compared with each:
//
//     lea __start_rodata(%rcx,%rdx), %rax      rax = the beginning's address
//     shr $12, %rax                            its frame
//     cmp %rax, %rsi                           the last of the frames in question
//     jb  …
//     lea __end_rodata(%rcx,%rdx), %rax        rax = the end's address
//     shr $12, %rax
//     cmp %r14, %rax                           the first of them
//
// Whatever is not of this form is refused.

import Addressing
import Disassembly
import KernelImage
public import KernelRewrite

extension FrameTests {
    /// - Parameter sites: those of the subject.
    /// - Throws: `RewriteError.unsupported` when a kernel does something with frames that kperm does not know.
    public init(_ subject: AuditSubject, _ sites: TranslationSites) throws(RewriteError) {
        let finder = FrameTestFinder(subject)
        if let lost = sites.skipped.first {
            throw finder.refuse("\(subject.describe(lost.address)): \(lost.reason)")
        }
        var steps: [FrameStep] = []
        var harmless: [Harmless] = []
        for site in sites.sites where site.rewritten == nil && !subject.runsEarly(site.address) {
            // Objects on pages that stay.
            if site.proof != nil, !site.constants.contains(where: subject.bounds) { continue }
            if let found = try finder.steps(of: site) {
                steps += found
            } else if let reason = finder.harmless(site) {
                harmless.append(Harmless(address: site.address, place: site.place, reason: reason))
            } else {
                throw finder.refuse(
                    "\(site.place) (\(site.address)) goes by frames in a way that kperm does not know: "
                        + (site.whyNotRewritten ?? site.remark))
            }
        }
        self.init(steps: steps, harmless: harmless)
    }
}

extension AuditSubject {
    fileprivate func runsEarly(_ address: VirtualAddress) -> Bool { kernel?.runsEarly(address) == true }
}

private struct FrameTestFinder: ~Copyable {
    private let subject: AuditSubject
    private let reader: CodeReader

    init(_ subject: AuditSubject) {
        self.subject = subject
        reader = CodeReader(subject)
    }

    func refuse(_ why: String) -> RewriteError {
        .unsupported(file: subject.file, "--cross-class: \(why); without it every class keeps its frames")
    }

    private func function(_ site: TranslationSite) -> String {
        String(site.place.prefix { $0 != "+" && $0 != "." })
    }

    func harmless(_ site: TranslationSite) -> String? {
        // What translates an address that is not known beforehand is none of a rule's.
        if site.kind == .register || site.kind == .shared { return nil }
        return FrameRules.harmless.first { $0.function == function(site) }?.reason
    }

    /// The steps of a site that a rule speaks of; nil for any other.
    func steps(of site: TranslationSite) throws(RewriteError) -> [FrameStep]? {
        let name = function(site)
        let range = FrameRules.ranges.first { rule in
            rule.functions.contains(name) && site.constants.count == 2
                && [rule.start, rule.end].allSatisfy { marker in
                    subject.addresses(named: marker).contains(where: site.constants.contains)
                }
        }
        let names = FrameRules.names.functions.contains(name) && site.kind != .constant
        guard range != nil || names else { return nil }
        guard let unit = reader.unit(around: site.address), let base = subject.addresses(named: "phys_base").first
        else {
            throw refuse("\(site.place): its code cannot be read")
        }
        let trace = FrameTrace(name, unit, site.address, base)
        var place: FrameTrace.Markers?
        if let range { place = try markers(range) }
        do {
            if let range, let place { return try trace.range(place, reason: range.reason) }
            return [try trace.name(reason: FrameRules.names.reason)]
        } catch {
            throw refuse("\(site.place): \(error.reason)")
        }
    }

    private func markers(_ rule: FrameRules.Range) throws(RewriteError) -> FrameTrace.Markers {
        guard let map = subject.kernel?.map, let start = subject.addresses(named: rule.start).first,
            let end = subject.addresses(named: rule.end).first, start < end, map.virtualRange.lowerBound <= start,
            end <= map.virtualRange.upperBound
        else { throw refuse("\(rule.start) … \(rule.end) do not lie in the image") }
        return FrameTrace.Markers(start: start, end: end, names: [rule.start, rule.end], map: map)
    }
}
