// SPDX-License-Identifier: MIT

// What a permutation must respect so that nothing that was found goes wrong, in
// the form that `kperm permute` takes.
//
// A kernel that was permuted still translates most addresses by adding an
// offset. So what it translates itself must stay: pins. What it looks up page by
// page in page tables may move, but bytes that go on behind the end of a page
// must go on in the next frame: glue. What is only suspicious is treated alike,
// as a page of thousands costs next to nothing and a wrong transfer overwrites a
// stranger's page; what is only printed, and stacks, which no pin makes fit for
// DMA, are left alone.

import Addressing
import KernelImage
public import KernelRewrite
public import PagePermutation

/// Pins and glue that an audit asks for.
public struct AuditConstraints: Codable, Equatable, Sendable {
    public struct Constraint: Codable, Equatable, Sendable {
        /// As --pin and --glue take it: `0xFROM..0xTO`, TO excluded.
        public let pages: String
        /// The object's name.
        public let object: String?
        public let reason: String?
        /// The instruction, or the rule and the way to it.
        public let evidence: String?
        /// What it takes away from what the kernel's own pins leave, in bits; only classes that lose something.
        public var cost: [ClassEntropy]?
    }

    public private(set) var pins: [Constraint] = []
    public private(set) var glue: [Constraint] = []
    /// What all of them take away together.
    public private(set) var cost: [ClassEntropy]?

    public var isEmpty: Bool { pins.isEmpty && glue.isEmpty }

    /// Of a kernel; a module asks for nothing, as its pages are not permuted.
    ///
    /// - Throws: `RewriteError.problem` when the kernel's own pages make no problem.
    public init(_ subject: AuditSubject, _ sites: TranslationSites, _ flows: DataFlows) throws(RewriteError) {
        guard let kernel = subject.kernel else { return }
        var collected = Collected(kernel)
        for site in sites.sites where site.isPinned == false {
            for address in site.constants where !subject.stays(address) {
                collected.pin(
                    kernel.object(at: address) ?? subject.object(at: address) ?? address..<address + 1,
                    subject.describe(address), "translated to its physical address",
                    "\(site.instruction) at \(site.place)")
            }
        }
        let stock = flows.findings(in: subject, as: .untranslated)
        for finding in stock where finding.severity != .safe && !finding.rule.isWalk && !finding.rule.onlyPrints {
            guard let range = finding.range, !subject.isStill(range) else { continue }
            collected.pin(range, finding.object, "\(finding.severity.rawValue): \(finding.reason)", finding.way)
        }
        for finding in flows.findings(in: subject, as: .image) where finding.severity != .safe {
            guard let range = finding.range else { continue }
            collected.glue(range, finding.object, "\(finding.severity.rawValue): \(finding.reason)", finding.way)
        }
        do {
            let free = try PermutationProblem(
                pageCount: kernel.map.pageCount, classes: kernel.classes, pins: kernel.pins)
            func costed(_ found: [Collected.One], isGlue: Bool) throws(ProblemError) -> [Constraint] {
                var all: [Constraint] = []
                for one in found {
                    var constraint = one.constraint
                    constraint.cost = try free.with(
                        pins: isGlue ? [] : [one.pin], glue: isGlue ? [one.glue] : []
                    ).entropyLost(since: free).map(\.rounded)
                    all.append(constraint)
                }
                return all
            }
            pins = try costed(collected.pins, isGlue: false)
            glue = try costed(collected.glue, isGlue: true)
            cost = try free.with(pins: collected.pins.map(\.pin), glue: collected.glue.map(\.glue))
                .entropyLost(since: free).map(\.rounded)
        } catch {
            throw .problem(error)
        }
    }
}

/// Constraints in the making, each set of pages once.
private struct Collected {
    struct One {
        let pages: Range<Int>
        let constraint: AuditConstraints.Constraint

        var pin: Pin { Pin(pages: pages, reason: "", evidence: "") }
        var glue: Glue { Glue(pages: pages, reason: "") }
    }

    private(set) var pins: [One] = []
    private(set) var glue: [One] = []
    private let kernel: KernelAnalysis

    init(_ kernel: KernelAnalysis) { self.kernel = kernel }

    mutating func pin(_ range: Range<VirtualAddress>, _ object: String, _ reason: String, _ evidence: String) {
        guard let one = one(range, object, reason, evidence), !pins.contains(where: { $0.pages == one.pages }) else {
            return
        }
        pins.append(one)
    }

    mutating func glue(_ range: Range<VirtualAddress>, _ object: String, _ reason: String, _ evidence: String) {
        guard let one = one(range, object, reason, evidence), one.pages.count > 1,
            !(pins + glue).contains(where: {
                $0.pages.lowerBound <= one.pages.lowerBound
                    && one.pages.upperBound <= $0.pages.upperBound
            })
        else { return }
        // A run moves within one class; what reaches into two has to stay.
        let isInOne = kernel.classes.contains { pageClass in
            one.pages.allSatisfy { page in pageClass.ranges.contains { $0.contains(page) } }
        }
        if isInOne { glue.append(one) } else { pins.append(one) }
    }

    private func one(
        _ range: Range<VirtualAddress>, _ object: String, _ reason: String, _ evidence: String
    ) -> One? {
        let inside = range.clamped(to: kernel.map.virtualRange)
        let pages = kernel.map.pages(of: inside)
        guard !pages.isEmpty else { return nil }
        return One(
            pages: pages,
            constraint: AuditConstraints.Constraint(
                pages: "\(inside.lowerBound)..\(inside.upperBound)", object: object, reason: reason,
                evidence: evidence))
    }
}

extension Rule {
    /// Whether page tables say where the bytes are.
    fileprivate var isWalk: Bool { if case .walk = reach { true } else { false } }

    fileprivate var onlyPrints: Bool { reach == .prints }
}

extension FlowFinding {
    fileprivate var way: String { "\(rule.name), by \(path.joined(separator: " -> "))" }
}
