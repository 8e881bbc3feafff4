// SPDX-License-Identifier: MIT

// The sample kernel was written with pages that must stay, each for one of the
// reasons that Linux has. Exactly these are found, and found by symbol.

import Addressing
import KernelImage
import PagePermutation
import Testing

@testable import KernelRewrite

struct PinTests {
    /// Found by following code and constants, whatever they are called.
    private static let found = [
        "init_top_pgt", "level3_ident_pgt", "level2_ident_pgt", "level3_kernel_pgt", "level2_kernel_pgt", "_text",
        "pvh_gdt",
    ]

    private func pages(of symbols: [String], _ image: borrowing KernelImage, _ map: PageMap) throws -> Set<Int> {
        var pages: Set<Int> = []
        for name in symbols {
            let address = try address(of: name, in: image)
            pages.insert(try #require(map.page(of: address)))
        }
        return pages
    }

    private func foundByFollowing(_ analysis: KernelAnalysis) -> Set<Int> {
        let reasons = ["runs before", "touched before", "named by its physical address", "page table:"]
        return Set(
            analysis.pins.filter { pin in
                reasons.contains { pin.reason.hasPrefix($0) }
                    && !Rules.objects.contains { $0.symbol == pin.evidence }
            }.flatMap(\.pages))
    }

    @Test func exactlyTheExpectedPages() throws {
        let image = try KernelImage.open(try Sample.path)
        let analysis = try KernelAnalysis.of(image)
        var expected = try pages(of: Self.found, image, analysis.map)
        #expect(expected.count == 7)
        #expect(foundByFollowing(analysis) == expected)

        let stack = try address(of: "init_thread_union", in: image)
        expected.formUnion(analysis.map.pages(of: stack..<stack + 4 * 4096))
        let notes = try #require(image.segments.first { $0.type == Segment.note })
        expected.insert(try #require(analysis.map.page(of: notes.virtualAddress)))
        #expect(Set(analysis.pins.flatMap(\.pages)) == expected)
        #expect(analysis.pinnedPages == expected.count)
    }

    @Test func samePagesWithoutRelocations() throws {
        let whole = try KernelImage.open(try Sample.path)
        let stripped = try KernelImage.open(try Sample.withoutRelocations)
        let (before, after) = (whole.hasRelocations, stripped.hasRelocations)
        #expect(before && !after)
        let analysis = try KernelAnalysis.of(stripped)
        let expected = try pages(of: Self.found, stripped, analysis.map)
        #expect(foundByFollowing(analysis) == expected)
        #expect(Set(try KernelAnalysis.of(whole).pins.flatMap(\.pages)) == Set(analysis.pins.flatMap(\.pages)))
    }

    @Test func everyPinHasReasonAndEvidence() throws {
        let analysis = try KernelAnalysis.of(try KernelImage.open(try Sample.path))
        for pin in analysis.pins {
            #expect(!pin.reason.isEmpty && !pin.evidence.isEmpty)
            #expect(!pin.evidence.contains("page"), "a pin's evidence is a symbol, a relocation or an instruction")
        }
    }

    /// Each page is of one class, excluded, or neither and then pinned by being in no class.
    @Test func classesAndExclusionsDoNotMeet() throws {
        let analysis = try KernelAnalysis.of(try KernelImage.open(try Sample.path))
        #expect(analysis.classes.map(\.name) == ["text", "rodata", "data", "init", "bss"])
        var owners = [Int](repeating: 0, count: analysis.map.pageCount)
        for page in analysis.classes.flatMap(\.ranges).joined() { owners[page] += 1 }
        for page in analysis.exclusions.map(\.pages).joined() { owners[page] += 1 }
        #expect(owners.allSatisfy { $0 == 1 })
        #expect(analysis.exclusions.contains { $0.reason.hasPrefix(".brk") && $0.pages.count == 2 })
    }
}
