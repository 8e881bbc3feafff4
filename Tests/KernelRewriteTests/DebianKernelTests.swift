// SPDX-License-Identifier: MIT

// Debian's cloud kernel, as tools/fetch-kernel finds or fetches it: what holds
// for the sample holds for a real kernel of ten thousand pages.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import KernelRewrite

private let isOffline: Bool = {
    let offline = ProcessInfo.processInfo.environment["KPERM_OFFLINE"] != nil
    if offline { print("NOT TESTED: Debian's kernel was left out, because KPERM_OFFLINE is set.") }
    return offline
}()

@Suite(.serialized, .enabled(if: !isOffline, "KPERM_OFFLINE is set"))
struct DebianKernelTests {
    private static let fetched = Result { try fetchKernel("cloud", "--debug") }

    private func kernel(_ name: String) throws -> String { try #require(try Self.fetched.get()[name]) }

    /// The debug vmlinux has relocations, the stripped one has not: constants in instructions and page tables must give
    /// what relocations give.
    @Test func samePinsWithAndWithoutRelocations() throws {
        let debug = try KernelImage.open(try kernel("vmlinux"))
        let stripped = try KernelImage.open(try kernel("vmlinux_stripped"))
        let relocations = [debug.hasRelocations, stripped.hasRelocations]
        #expect(relocations == [true, false])
        let (a, b) = (try KernelAnalysis.of(debug), try KernelAnalysis.of(stripped))
        #expect(Set(a.pins.flatMap(\.pages)) == Set(b.pins.flatMap(\.pages)))
        #expect(a.classes == b.classes)
        #expect(a.release?.hasSuffix("-cloud-amd64") == true)
    }

    @Test(arguments: Encoding.allCases) func nearlyAllPagesMove(encoding: Encoding) throws {
        let scratch = try Scratch()
        let path = try kernel("vmlinux_stripped")
        let image = try KernelImage.open(path)
        let plan = try RewritePlan.draw(
            image, Request(encoding: encoding, seedSource: "given"), seed: try seedNumber(1))
        #expect(plan.percentMoved >= 98)
        #expect(plan.changes.contains { $0.evidence.hasPrefix("__text_poke: test") })
        try plan.apply(to: scratch["out"], from: image, tool: "test")
        let permuted = try PermutedImage.open(scratch["out"])
        let proof = try permuted.verify(against: image)
        #expect(proof.findings.isEmpty)
        try permuted.restore(to: scratch["restored"])
        try runTool("cmp", path, scratch["restored"])

        // Without the change of __text_poke the kernel would patch wrong frames: the proof must see that.
        let change = try #require(plan.changes.first { $0.evidence.hasPrefix("__text_poke") })
        let layout = try OutputLayout(plan, image, tool: "test")
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: scratch["out"]))
        try file.seek(toOffset: UInt64(layout.place(of: change.fileOffset, in: plan)))
        try file.write(contentsOf: Data(change.before))
        try file.close()
        let spoilt = try PermutedImage.open(scratch["out"]).verify(against: image)
        let address = try #require(change.address)
        let page = try #require(plan.analysis.map.page(of: address))
        #expect(spoilt.findings.count == 1)
        #expect(spoilt.findings.first?.hasPrefix("page \(page) ") == true)
    }
}
