// SPDX-License-Identifier: MIT

// Every translation of Debian's cloud kernel that is rewritten, run beside the
// original.

import Addressing
import Disassembly
import Foundation
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import HazardAudit
@testable import KernelRewrite

@Suite(.enabled(if: !isOffline, "KPERM_OFFLINE is set"))
struct DebianRewriteTests {
    /// Where the kernel goes by ranges of frames, all places are known, and pages of each class get into frames of each
    /// other.
    @Test func pagesCrossClasses() throws {
        let path = ProcessInfo.processInfo.environment["KPERM_REWRITE_KERNEL"]
        let image = try KernelImage.open(
            try path ?? #require(try fetchKernel("cloud", "--debug")["vmlinux_stripped"]))
        let subject = try AuditSubject.kernel(image)
        let found = TranslationSites(subject)
        let tests = try FrameTests(subject, found)
        var counts: [String: Int] = [:]
        for step in tests.steps { counts[String(step.evidence.prefix { $0 != ":" }), default: 0] += 1 }
        #expect(counts == ["static_protections": 2, "__change_page_attr_set_clr": 3, "__check_object_size": 2])
        #expect(tests.harmless.allSatisfy { !$0.reason.isEmpty })

        let request = Request(rewrites: true, crossesClasses: true)
        var translations = found.translations
        translations.frameTests = tests
        let plan = try RewritePlan.draw(image, request, rewriting: translations)
        #expect(plan.rewriting?.frameTests?.steps == tests.steps && plan.rewriting?.left.isEmpty == true)
        var owner = [Int](repeating: -1, count: plan.table.pageCount)
        for (number, pageClass) in plan.analysis.classes.enumerated() {
            for page in pageClass.ranges.joined() { owner[page] = number }
        }
        var seen: Set<[Int]> = []
        for (page, frame) in plan.table.forward.enumerated() { seen.insert([owner[page], owner[Int(frame)]]) }
        let classes = plan.analysis.classes.indices
        #expect(classes.allSatisfy { first in classes.allSatisfy { seen.contains([first, $0]) } })
        // Without what asks it is refused.
        translations.frameTests = nil
        #expect(throws: RewriteError.self) { try RewritePlan.draw(image, request, rewriting: translations) }
    }

    @Test func everyRewrittenSiteIsProved() throws {
        let path = ProcessInfo.processInfo.environment["KPERM_REWRITE_KERNEL"]
        let image = try KernelImage.open(
            try path ?? #require(try fetchKernel("cloud", "--debug")["vmlinux_stripped"]))
        let subject = try AuditSubject.kernel(image)
        let found = TranslationSites(subject)
        let plan = try RewritePlan.draw(image, Request())
        let rewriting = try Rewriter.plan(
            plan.analysis, image, found.sites.compactMap(\.rewritten), noting: nil, nil, plan.table)

        let map = plan.analysis.map
        var before: [UInt8] = []
        before.reserveCapacity(map.pageCount * pageSize)
        for page in 0..<map.pageCount { before += map.contents(of: page, in: image) }
        var after = before
        for change in rewriting.changes {
            let offset = Int(try #require(change.address) - map.virtualBase)
            #expect(before[offset..<offset + change.before.count].elementsEqual(change.before))
            after.replaceSubrange(offset..<offset + change.after.count, with: change.after)
        }
        var random = TestRandom()
        var proof = try LookupProof(before, after, at: map.virtualBase, frames: plan.table.forward)
        for led in rewriting.code.led { try proof.check(led, &random) }
        #expect(proof.findings.isEmpty, TestRandom.comment("\(proof.findings.count): \(proof.findings.prefix(8))"))
        let places = rewriting.places.map(\.place)
        let unseen = places.filter { !proof.moved.contains($0) }
        #expect(unseen.isEmpty, "never translated an address of a moved page: \(unseen.map(subject.describe))")

        // A lookup is short: so many instructions besides those that were there, the jump back among them.
        let decoder = Decoder(.x86Bits64)
        var lengths: [Int: Int] = [:]
        var long: [String] = []
        for led in rewriting.code.led where led.detour.looks.count == 1 {
            let offset = Int(led.code.lowerBound - map.virtualBase)
            let size = Int(led.code.upperBound - led.code.lowerBound)
            let copies = decoder.all(Array(after[offset..<offset + size]), at: led.code.lowerBound)
            let added = copies.count - led.detour.instructions.count
            lengths[added, default: 0] += 1
            if added > 14 { long.append(subject.describe(led.detour.looks[0].place)) }
        }
        print("instructions of lookups: \(lengths.sorted { $0.key < $1.key }.map { "\($1) of \($0)" })")
        #expect(long.isEmpty, "more than 14 instructions: \(long)")

        var reasons: [VirtualAddress: String] = [:]
        for site in found.sites { reasons[site.address] = site.whyNotRewritten }
        let proven = found.sites.count { $0.proof != nil }
        for (address, reason) in rewriting.left { reasons[address] = reason }
        let rewritten = found.sites.count - reasons.count
        print(
            "\(rewritten) of \(found.sites.count) sites rewritten at \(places.count) places, \(proven) proven, "
                + "\(rewriting.byteCount) bytes; proved by \(proof.runs) runs")
        for (reason, group) in Dictionary(grouping: reasons, by: \.value).sorted(by: { $0.key < $1.key }) {
            let sites = group.map(\.key).sorted().map(subject.describe)
            print("  \(group.count) left: \(reason): \(sites.prefix(6).joined(separator: ", "))")
        }
        #expect((rewritten + proven) * 100 >= found.sites.count * 98)
        // What is left says why, and only what stays goes without.
        #expect(found.sites.allSatisfy { $0.proof == nil || $0.rewritten == nil && $0.isPinned != false })
        #expect(found.sites.contains { $0.kind == .constant && $0.rewritten != nil })
        #expect(found.sites.allSatisfy { ($0.rewritten == nil) == ($0.whyNotRewritten != nil) })
    }
}
