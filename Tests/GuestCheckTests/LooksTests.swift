// SPDX-License-Identifier: MIT

// Every comparison must pass on a right guest and fail on a guest that is
// wrong in one thing.

import Addressing
import Testing

@testable import GuestCheck

struct LooksTests {
    @Test func rightGuestPasses() throws {
        let guest = try SyntheticGuest()
        let stub = guest.expectation.lookAtStub(guest.builder.tables, try guest.memory())
        #expect(stub.checks.map(\.outcome) == [.pass, .pass])
        #expect(stub.look == GuestResult.Look(name: "stub", cpus: 1, mappedPages: 8, movedPages: 4, comparedPages: 8))
        let later = guest.expectation.lookAtUserspace([guest.builder.tables], try guest.memory())
        #expect(later.checks.map(\.name) == ["userspace-mapping", "userspace-bytes", "rights", "aliases"])
        #expect(later.checks.allSatisfy { $0.outcome == .pass })
        #expect(later.look.mappedPages == 7)
        #expect(later.look.comparedPages == 4)
        #expect(later.checks.last?.detail.hasPrefix("4 other mappings") == true)
    }

    @Test(arguments: [0, 3, 4, 7]) func oneByteChanged(page: Int) throws {
        var guest = try SyntheticGuest()
        guest.change(page, offset: 0x123)
        #expect(try guest.stubFailures() == ["stub-bytes"])
        #expect(try guest.userspaceFailures() == (page < 4 ? ["userspace-bytes"] : []))
        let place = VirtualAddress(SyntheticGuest.base + UInt64(page * 0x1000 + 0x123))
        guest.expectation.mayDifferAtStub = [place..<place + 1]
        guest.expectation.patchSites = [place..<place + 1]
        #expect(try guest.stubFailures().isEmpty)
        #expect(try guest.userspaceFailures().isEmpty)
        guest.change(page, offset: 0x124)
        #expect(try guest.stubFailures() == ["stub-bytes"])
    }

    @Test func oneFrameWrong() throws {
        var guest = try SyntheticGuest()
        guest.builder.map(SyntheticGuest.base, to: SyntheticGuest.frames, flags: 0)
        #expect(try guest.stubFailures() == ["stub-mapping", "stub-bytes"])
        // Another page of text is executable there, too.
        #expect(try guest.userspaceFailures() == ["userspace-mapping", "userspace-bytes", "aliases"])
    }

    @Test func onePageNotMapped() throws {
        var guest = try SyntheticGuest()
        guest.builder.unmap(SyntheticGuest.base + 0x7000)
        #expect(try guest.stubFailures() == ["stub-mapping", "stub-bytes"])
        #expect(try guest.userspaceFailures().isEmpty, "freed pages make no demand")
        guest.expectation.pages[7] = .unmapped
        #expect(try guest.stubFailures().isEmpty)
    }

    @Test func mappedWhereNoMemoryIs() throws {
        var guest = try SyntheticGuest()
        guest.builder.map(SyntheticGuest.base, to: 0x1_0000_0000, flags: 0)
        #expect(try guest.stubFailures() == ["stub-mapping", "stub-bytes"])
    }

    @Test func rightsTooWide() throws {
        var guest = try SyntheticGuest()
        guest.builder.map(SyntheticGuest.base, to: SyntheticGuest.frames + 0x1000, flags: TableBuilder.writable)
        #expect(try guest.userspaceFailures() == ["rights"])
        guest = try SyntheticGuest()
        guest.builder.map(SyntheticGuest.base + 0x2000, to: SyntheticGuest.frames + 0x2000, flags: 0)
        #expect(try guest.userspaceFailures() == ["rights"])
        guest.expectation.protectsItself = false
        #expect(try guest.userspaceFailures().isEmpty)
    }

    @Test(arguments: [TableBuilder.noExecute | TableBuilder.writable, 0])
    func aliasTooWide(flags: UInt64) throws {
        var guest = try SyntheticGuest()
        guest.builder.map(SyntheticGuest.linearMap + SyntheticGuest.frames, to: SyntheticGuest.frames, flags: flags)
        #expect(try guest.userspaceFailures() == ["aliases"])
    }

    @Test func largeWritableAlias() throws {
        var guest = try SyntheticGuest()
        let flags = TableBuilder.noExecute | TableBuilder.writable
        guest.builder.map(0xffff_c000_0000_0000, to: SyntheticGuest.frames, level: 2, flags: flags)
        let aliases = guest.expectation.lookAtUserspace([guest.builder.tables], try guest.memory()).checks.last
        #expect(aliases?.outcome == .fail)
        #expect(aliases?.examples.first == "text page 1 (0xffffffff81001000) is writable at 0xffffc00000000000")
        #expect(aliases?.examples.count == 4)
    }

    /// A page-table-isolation user root lies one page above the kernel's, and its last entry leads elsewhere.
    @Test func userRootIsTurnedIntoTheKernels() throws {
        var kernel = TableBuilder(levels: 4, at: 0x14_0000)
        var user = TableBuilder(levels: 4, at: 0x15_1000)
        kernel.map(SyntheticGuest.base, to: SyntheticGuest.frames, flags: 0)
        user.map(SyntheticGuest.base, to: SyntheticGuest.frames, flags: 0)
        var guest = try SyntheticGuest()
        guest.builder = kernel
        let memory = try guest.memory()
        user.write(into: memory)
        let shared = (memory.word(at: PhysicalAddress(0x14_0ff8)) ?? 0) | 0x60
        memory.write((0..<8).map { UInt8(truncatingIfNeeded: shared >> (8 * $0)) }, atOffset: 0x16_1ff8)
        let roots: [(UInt64, UInt64)] = [(0x15_1000, 0x15_0000), (0x14_0000, 0x14_0000), (0x16_1000, 0x16_1000)]
        for (root, expected) in roots {
            let found = PageTables(root: PhysicalAddress(root), levels: 4)
                .kernelRoot(topLevel: PhysicalAddress(0x14_0000), in: memory)
            #expect(found.root == PhysicalAddress(expected))
        }
        #expect(user.tables.kernelRoot(topLevel: nil, in: memory) == user.tables)
    }

    @Test func rangesAreFound() {
        let ranges = [(10, 20), (20, 21), (40, 50)].map { VirtualAddress($0.0)..<VirtualAddress($0.1) }
        let held = (0..<60).filter { ranges.holds(VirtualAddress($0)) }.map { Int($0) }
        #expect(held == Array(10..<21) + Array(40..<50))
        #expect(![Range<VirtualAddress>]().holds(VirtualAddress(0)))
        #expect(consecutive([1, 2, 3, 7, 9, 10]) == [1..<4, 7..<8, 9..<11])
    }
}
