// SPDX-License-Identifier: MIT

// Layouts against what Linux's headers say, which is written out here once more as
// formulas, and against what booted kernels have mapped (Tests/Fixtures/layout).

import AddressSpaces
import Foundation
import Testing

struct LayoutTests {
    private func layout(_ mode: String, _ release: String = "6.1") throws -> AddressLayout {
        try #require(AddressLayout.named(mode, release: release))
    }

    @Test(arguments: AddressLayout.modeNames) func regionsFillNoHoleAndOverlapNothing(mode: String) throws {
        for release in AddressLayout.releases {
            guard let layout = AddressLayout.named(mode, release: release) else { continue }
            let outer = layout.regions.filter { $0.inside == nil }
            for (low, high) in zip(outer, outer.dropFirst()) {
                #expect(low.range.upperBound < high.range.lowerBound, "\(mode): \(low.kind) and \(high.kind)")
            }
            for region in layout.regions where region.kind != .hole {
                #expect(layout.mode.isCanonical(region.range.lowerBound), "\(mode) \(region.kind)")
                #expect(layout.mode.isCanonical(region.range.upperBound), "\(mode) \(region.kind)")
                if let outside = region.inside.flatMap({ layout.region($0) }) {
                    #expect(outside.range.contains(region.range.lowerBound))
                    #expect(outside.range.contains(region.range.upperBound))
                }
            }
            #expect(!layout.mode.isCanonical(layout.mode.hole.lowerBound))
            #expect(!layout.mode.isCanonical(layout.mode.hole.upperBound))
            #expect(layout.mode.isCanonical(layout.mode.hole.lowerBound - 1))
            #expect(layout.mode.isCanonical(layout.mode.hole.upperBound + 1))
            #expect(layout.region(.user)?.range.upperBound == layout.mode.hole.lowerBound - 1)
            #expect(layout.sources.contains { $0.contains("Documentation/") })
        }
    }

    /// The documents' own numbers.
    @Test func documentedPlaces() throws {
        let sv39 = try layout("sv39")
        #expect(sv39.region(.fixmap)?.range == 0xffff_ffc6_fea0_0000...0xffff_ffc6_feff_ffff)
        #expect(sv39.region(.vmemmap)?.range == 0xffff_ffc7_0000_0000...0xffff_ffc7_ffff_ffff)
        #expect(sv39.region(.vmalloc)?.range == 0xffff_ffc8_0000_0000...0xffff_ffd7_ffff_ffff)
        #expect(sv39.region(.linear)?.range.lowerBound == 0xffff_ffd8_0000_0000)
        let sv48 = try layout("sv48")
        #expect(sv48.region(.fixmap)?.range.lowerBound == 0xffff_8d7f_fea0_0000)
        #expect(sv48.region(.pciIO)?.range == 0xffff_8d7f_ff00_0000...0xffff_8d7f_ffff_ffff)
        #expect(sv48.region(.linear)?.range == 0xffff_af80_0000_0000...0xffff_ef7f_ffff_ffff)
        let sv57 = try layout("sv57")
        #expect(sv57.region(.vmemmap)?.range == 0xff1c_0000_0000_0000...0xff1f_ffff_ffff_ffff)
        #expect(sv57.region(.vmalloc)?.range == 0xff20_0000_0000_0000...0xff5f_ffff_ffff_ffff)
        #expect(sv57.region(.linear)?.range == 0xff60_0000_0000_0000...0xffdf_ffff_ffff_ffff)
        #expect(try layout("sv39", "6.12").region(.linear)?.range == 0xffff_ffd6_0000_0000...0xffff_fff5_ffff_ffff)
        let arm = try layout("arm64-48")
        #expect(arm.region(.modules)?.range == 0xffff_8000_0000_0000...0xffff_8000_07ff_ffff)
        #expect(arm.region(.vmalloc)?.range == 0xffff_8000_0800_0000...0xffff_fbff_efff_ffff)
        #expect(arm.region(.fixmap)?.range == 0xffff_fbff_f000_0000...0xffff_fbff_fdff_ffff)
        #expect(arm.region(.pciIO)?.range == 0xffff_fbff_fe80_0000...0xffff_fbff_ff7f_ffff)
        #expect(arm.region(.vmemmap)?.range == 0xffff_fc00_0000_0000...0xffff_fdff_ffff_ffff)
        #expect(try layout("arm64-39").region(.linear)?.range == 0xffff_ff80_0000_0000...0xffff_ffbf_ffff_ffff)
        #expect(try layout("x86-4").region(.vmalloc)?.byteCount == 32 << 40)
        #expect(try layout("x86-5").region(.vmalloc)?.byteCount == 12_800 << 40)
    }

    @Test func unknownNames() {
        #expect(AddressLayout.named("sv64") == nil)
        #expect(AddressLayout.named("sv39", release: "5.0") == nil)
        #expect(AddressLayout.named("arm64-48", release: "6.12") == nil)
    }

    @Test func theKernelStaysAndTheRestMoves() throws {
        let rows = ModeComparison(try layout("sv39"), try layout("sv48")).rows
        let changes = Dictionary(uniqueKeysWithValues: rows.map { ($0.kind, $0.change) })
        #expect(changes[.kernel] == .same)
        #expect(changes[.modules] == .same)
        #expect(changes[.user] == .resized)
        #expect(changes[.hole] == .movesAndResized)
        #expect(changes[.linear] == .movesAndResized)
        #expect(changes[.fixmap] == .moves)
        let x86 = ModeComparison(try layout("x86-4"), try layout("x86-5")).rows
        #expect(x86.first { $0.kind == .modules }?.change == .same)
        let distance = UInt64(0xff11_0000_0000_0000) &- 0xffff_8880_0000_0000
        #expect(x86.first { $0.kind == .linear }?.distance == Int64(bitPattern: distance))
    }

    @Test(arguments: [("sv57", "sv48", 1), ("sv57", "sv39", 2), ("sv48", "sv39", 1), ("x86-5", "x86-4", 1)])
    func folding(wide: String, narrow: String, levels: Int) throws {
        let folded = try #require(FoldedKernel(layout(wide), under: layout(narrow)))
        #expect(folded.foldedLevels.count == levels)
        #expect(folded.fates.first { $0.region.kind == .kernel }?.isConstant == true)
        #expect(folded.fates.first { $0.region.kind == .linear }?.isCanonical == false)
        #expect(folded.fates.first { $0.region.kind == .linear }?.isConstant == false)
        var state: UInt64 = 7
        let walks = folded.walk(perRegion: 20) {
            state = state &* 6_364_136_223_846_793_005 &+ 1
            return state >> 8
        }
        #expect(walks.addresses >= 100)
        #expect(walks.foldedRight == walks.addresses)
        #expect(walks.unfoldedRight == 0)
        #expect(walks.processorReads == walks.kernelReads)
        #expect(walks.unfoldedReads == walks.kernelReads + levels)
    }

    @Test func foldingNeedsOneFamilyAndFewerLevels() throws {
        #expect(FoldedKernel(try layout("sv39"), under: try layout("sv48")) == nil)
        #expect(FoldedKernel(try layout("sv48"), under: try layout("sv48")) == nil)
        #expect(FoldedKernel(try layout("x86-5"), under: try layout("sv48")) == nil)
    }

    @Test func addressesAreTruncated() throws {
        #expect(try layout("sv39").mode.truncated(0xffff_af80_0000_0000) == 0x0000_0000_0000_0000)
        #expect(try layout("sv39").mode.truncated(0xffff_ffff_8000_0000) == 0xffff_ffff_8000_0000)
        #expect(try layout("sv48").mode.truncated(0x0000_8000_0000_0000) == 0xffff_8000_0000_0000)
        #expect(try layout("arm64-39").mode.truncated(0xffff_0000_0000_0000) == 0xffff_ff80_0000_0000)
    }

    /// What `info mem` showed of booted kernels: all of it in regions of its own mode, and not of another of its family.
    @Test(arguments: [
        ("riscv64-sv39", "sv39", "6.12"), ("riscv64-sv48", "sv48", "6.12"), ("riscv64-sv57", "sv57", "6.12"),
        ("x86_64-4", "x86-4", "6.1"), ("x86_64-5", "x86-5", "6.1"), ("arm64-48", "arm64-48", "6.1"),
    ])
    func bootedKernels(file: String, mode: String, release: String) throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/layout/\(file).txt")
        let observed = ObservedRange.all(in: String(decoding: try Data(contentsOf: path), as: UTF8.self))
        #expect(observed.count >= 3)
        let check = LayoutCheck(try layout(mode, release), observed)
        #expect(check.findings == [])
        let always = [RegionKind.vmemmap, .vmalloc]
        for kind in observed.count < 10 ? always : always + [.linear, .kernel, .fixmap] {
            #expect(check.rows.contains { $0.kind == kind }, "\(kind)")
        }
        let family = try layout(mode).mode.family
        for name in AddressLayout.modeNames where name != mode {
            let other = try layout(name)
            if other.mode.family == family { #expect(!LayoutCheck(other, observed).findings.isEmpty, "\(name)") }
        }
    }

    @Test func bordersHaveToBeRight() throws {
        let lines = "NUMBER(VMALLOC_END)=0xfffffbfff0000000\nvmemmap_base = 0xffffea0000000000"
        let observed = ObservedRange.all(in: lines)
        #expect(observed.map(\.border) == [.last, .first])
        #expect(LayoutCheck(try layout("arm64-48"), [observed[0]]).findings == [])
        #expect(LayoutCheck(try layout("x86-4"), [observed[1]]).findings == [])
        let moved = ObservedRange.all(in: "vmemmap_base = 0xffffea0040000000")
        #expect(
            LayoutCheck(try layout("x86-4"), moved).findings == [
                "line 1: ffffea0040000000 … ffffea0040000000: vmemmap begins at ffffea0000000000 in the layout; was it "
                    + "booted with nokaslr?"
            ])
    }

    @Test func whatAKernelPrints() throws {
        let log = """
            [    0.000000] Virtual kernel memory layout:
            [    0.000000]       fixmap : 0xffff8d7ffea00000 - 0xffff8d7fff000000   (6144 kB)
            [    0.000000]       pci io : 0xffff8d7fff000000 - 0xffff8d8000000000   (  16 MB)
            [    0.000000]      vmemmap : 0xffff8d8000000000 - 0xffff8f8000000000   (   2 TB)
            [    0.000000]      vmalloc : 0xffff8f8000000000 - 0xffffaf8000000000   (  32 TB)
            [    0.000000]      modules : 0xffffffff01240000 - 0xffffffff80000000   (2029 MB)
            [    0.000000]       lowmem : 0xffffaf8000000000 - 0xffffaf8020000000   ( 512 MB)
            [    0.000000]       kernel : 0xffffffff80000000 - 0xffffffffffffffff   (2047 MB)
            """
        let observed = ObservedRange.all(in: log)
        #expect(observed.count == 7)
        #expect(observed.last?.range.upperBound == .max)
        #expect(LayoutCheck(try layout("sv48"), observed).findings == [])
        let wrong = LayoutCheck(try layout("sv39"), observed).findings
        #expect(wrong.count == 5)
        #expect(wrong[0].hasPrefix("line 2: ffff8d7ffea00000 … ffff8d7ffeffffff: fixmap lies at ffffffc6fea00000"))
    }
}
