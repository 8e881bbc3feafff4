// SPDX-License-Identifier: MIT

// Where each page's bytes lie: in the file, in NOBITS, in the per-CPU segment
// at virtual address 0, in an alignment gap.

import Addressing
import Testing

@testable import KernelImage

struct PageMapTests {
    private static let base = VirtualAddress(0x8100_0000)
    private static let end = VirtualAddress(0x8100_7000)

    private func map(_ format: Format = .elf64Little) async throws -> PageMap {
        try PageMap(ScratchFile(await fixture("four-formats", format)).open(), from: Self.base, to: Self.end)
    }

    @Test(arguments: Format.allCases)
    func entries(format: Format) async throws {
        let map = try await map(format)
        #expect(
            map.entries == [
                PageMap.Entry(fileOffset: 0x1000, fileBytes: 4096, segment: 0),
                PageMap.Entry(fileOffset: 0x2000, fileBytes: 0x30, segment: 0),
                PageMap.Entry(),
                PageMap.Entry(fileOffset: 0x3000, fileBytes: 0x200, segment: 1),
                PageMap.Entry(fileOffset: 0x4000, fileBytes: 0x800, segment: 2),
                PageMap.Entry(fileOffset: 0x5000, fileBytes: 0, segment: 2),
                PageMap.Entry(fileOffset: 0x6000, fileBytes: 0, segment: 2),
            ])
        #expect(map.entries.map(\.isGap) == [false, false, true, false, false, false, false])
        #expect(map.pageCount == 7)
        #expect(map.virtualRange == Self.base..<Self.end)
        #expect(map.physicalRange == PhysicalAddress(0x100_0000)..<PhysicalAddress(0x100_7000))
    }

    @Test func addresses() async throws {
        let map = try await map()
        #expect(map.page(of: Self.base) == 0)
        #expect(map.page(of: VirtualAddress(0x8100_1fff)) == 1)
        #expect(map.page(of: VirtualAddress(0x8100_6fff)) == 6)
        #expect(map.page(of: Self.end) == nil)
        #expect(map.page(of: VirtualAddress(0x80ff_ffff)) == nil)
        #expect(map.page(of: VirtualAddress(0)) == nil)
        #expect(map.fileOffset(of: VirtualAddress(0x8100_0123)) == 0x1123)
        #expect(map.fileOffset(of: VirtualAddress(0x8100_102f)) == 0x202f)
        #expect(map.fileOffset(of: VirtualAddress(0x8100_1030)) == nil)
        #expect(map.fileOffset(of: VirtualAddress(0x8100_2000)) == nil)
        #expect(map.fileOffset(of: VirtualAddress(0x8100_47ff)) == 0x47ff)
        #expect(map.fileOffset(of: VirtualAddress(0x8100_4800)) == nil)
        #expect(map.fileOffset(of: VirtualAddress(0x8100_7000)) == nil)
    }

    @Test(
        arguments: [
            (0x8100_0000, 0x8100_0001, 0..<1), (0x8100_0fff, 0x8100_1001, 0..<2), (0x8100_1000, 0x8100_3000, 1..<3),
            (0x8000_0000, 0x9000_0000, 0..<7), (0x8100_6fff, 0x8100_7fff, 6..<7), (0x8100_7000, 0x8100_8000, 0..<0),
            (0x8100_1000, 0x8100_1000, 0..<0),
        ] as [(UInt64, UInt64, Range<Int>)])
    func pagesOfRange(lower: UInt64, upper: UInt64, pages: Range<Int>) async throws {
        let map = try await map()
        #expect(map.pages(of: VirtualAddress(lower)..<VirtualAddress(upper)) == pages)
    }

    @Test func contents() async throws {
        let bytes = try await fixture("four-formats")
        let image = try ScratchFile(bytes).open()
        let map = try PageMap(image, from: Self.base, to: Self.end)
        let pages = (0..<7).map { map.contents(of: $0, in: image) }
        #expect(pages.allSatisfy { $0.count == 4096 })
        #expect(pages[0] == Array(bytes[0x1000..<0x2000]) && pages[0].prefix(2) == [0x90, 0x91])
        #expect(pages[1] == Array(bytes[0x2000..<0x2030]) + [UInt8](repeating: 0, count: 4096 - 0x30))
        #expect(pages[3].prefix(5) == [0xc0, 0xc1, 0xc2, 0xc3, 0])
        #expect(pages[4].prefix(9) == [0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0])
        for page in [2, 5, 6] { #expect(pages[page].allSatisfy { $0 == 0 }) }
    }

    /// An end inside a page counts the page.
    @Test func endInsideAPage() async throws {
        let image = try ScratchFile(await fixture("four-formats")).open()
        let map = try PageMap(image, from: Self.base, to: VirtualAddress(0x8100_4001))
        #expect(map.pageCount == 5)
        #expect(map.entries[3].segment == 1)
    }

    /// A segment that begins beyond the end would be loaded over what kperm puts there.
    @Test func segmentBeyondTheEndIsRefused() async throws {
        let image = try ScratchFile(await fixture("four-formats")).open()
        var said = ""
        do { _ = try PageMap(image, from: Self.base, to: VirtualAddress(0x8100_3001)) } catch { said = "\(error)" }
        #expect(said.hasSuffix("load segment 2 lies beyond the image, which ends at 0x81003001"))
    }

    /// Segments as a kernel has them at the top of the address space.
    @Test func highAddresses() async throws {
        let map = try await map(to: VirtualAddress(0xffff_ffff_8100_7000), from: VirtualAddress(0xffff_ffff_8100_0000))
        {
            $0[0].virtualAddress = VirtualAddress(0xffff_ffff_8100_0000)
            $0[2].virtualAddress = VirtualAddress(0xffff_ffff_8100_4000)
        }
        #expect(map.pageCount == 7)
        #expect(map.fileOffset(of: VirtualAddress(0xffff_ffff_8100_4001)) == 0x4001)
    }

    /// The page map of the fixture with other program headers.
    private func map(
        to end: VirtualAddress = end, from base: VirtualAddress = base, _ change: (inout [Segment]) -> Void
    ) async throws -> PageMap {
        let file = try ScratchFile(await fixture("four-formats"))
        let original = try file.open()
        var segments = original.segments
        change(&segments)
        file.write(original.encode(segments), at: Int(original.header.programHeaderOffset))
        return try PageMap(file.open(), from: base, to: end)
    }

    private func message(
        to end: VirtualAddress = end, from base: VirtualAddress = base, _ change: (inout [Segment]) -> Void
    ) async throws -> String {
        do {
            _ = try await map(to: end, from: base, change)
            return "accepted"
        } catch let error as ImageError {
            #expect(error.kind == .malformed && error.file == "some.elf")
            return error.message
        }
    }

    @Test func overlapIsRefused() async throws {
        let message = try await message { $0[1].physicalAddress = PhysicalAddress(0x100_1000) }
        #expect(message == "load segments overlap in page 1")
    }

    @Test func notPageAlignedIsRefused() async throws {
        let second = try await message { $0[1].physicalAddress = PhysicalAddress(0x100_3800) }
        #expect(second == "load segment 1 does not begin on a page of the image")
    }

    @Test func firstSegmentNotPageAlignedIsRefused() async throws {
        let base = VirtualAddress(0x8100_0800)
        let message = try await message(from: base) {
            for i in 0..<3 { $0[i].physicalAddress = PhysicalAddress($0[i].physicalAddress.rawValue + 0x800) }
            $0[0].virtualAddress = base
        }
        #expect(message != "accepted")
    }

    @Test func belowTheFirstIsRefused() async throws {
        let message = try await message { $0[1].physicalAddress = PhysicalAddress(0xff_f000) }
        #expect(message == "load segment 1 does not begin on a page of the image")
    }

    @Test func noSegmentAtTheBaseIsRefused() async throws {
        let message = try await message(from: VirtualAddress(0x8100_1000)) { _ in }
        #expect(message == "no load segment begins at 0x81001000, where the image does")
    }

    @Test(arguments: [0, 0x8100_0000, 0x80ff_ffff, 0x1_8100_0000, 0xffff_ffff_ffff_ffff] as [UInt64])
    func absurdEndIsRefused(end: UInt64) async throws {
        let message = try await message(to: VirtualAddress(end)) { _ in }
        #expect(message == "the image ends at \(VirtualAddress(end))")
    }
}
