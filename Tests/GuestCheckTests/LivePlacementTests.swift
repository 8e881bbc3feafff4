// SPDX-License-Identifier: MIT

// What is made of a stub's report, and what of a kernel that has none.

import Addressing
import PagePermutation
import Testing

@testable import GuestCheck

struct LivePlacementTests {
    private let guest: SyntheticGuest

    init() throws { guest = try SyntheticGuest() }

    /// A memory with one live area, what is judged of it, and the table that the expectation was derived for.
    private func judged(
        state: UInt32, sources: UInt32 = 1, demanded: BootArea.Sources = [], pageCount: Int = 8,
        expectsUnpermuted: Bool = false
    ) throws -> (derived: GuestExpectation?, checks: [GuestResult.Check]) {
        let memory = try guest.memory()
        let area = SyntheticArea(guest.expectation.table, state: state, sources: sources, status: "the status")
        memory.write(area.bytes, atOffset: 0x50_0000)
        let found = BootAreas(in: memory).drawing(in: memory)
        let drawing = try #require(found)
        var expectation = unplaced(pageCount)
        expectation.expectsUnpermuted = expectsUnpermuted
        expectation.demandedSources = demanded
        return expectation.judge(drawing, derive)
    }

    /// What is known of the image beforehand.
    private func unplaced(_ pageCount: Int) -> GuestExpectation {
        var expectation = guest.expectation
        expectation.table = TranslationTable(
            Permutation(identity: 1), virtualBase: VirtualAddress(0), physicalBase: PhysicalAddress(0))
        expectation.pages = [PageKind](repeating: .other, count: pageCount)
        return expectation
    }

    private var derive: @Sendable (TranslationTable) -> GuestExpectation {
        { [known = guest.expectation] table in
            var derived = known
            derived.table = table
            return derived
        }
    }

    @Test func derivedExpectationIsUsed() throws {
        let (derived, checks) = try judged(state: 1)
        #expect(checks.map(\.name) == ["permuted", "entropy", "live-table"])
        #expect(checks.allSatisfy { $0.outcome == .pass })
        #expect(checks.first?.detail == "the status")
        #expect(
            checks.last?.detail
                == "checksum right, 4 of 8 pages moved, virtual base 0xffffffff81000000, physical base 0x200000")
        let expectation = try #require(derived)
        #expect(expectation.table == guest.expectation.table)
        let look = expectation.lookAtStub(guest.builder.tables, try guest.memory())
        #expect(look.checks.map(\.outcome) == [.pass, .pass])
        #expect(look.look.movedPages == 4)
    }

    @Test func tableOfAnotherImage() throws {
        let (derived, checks) = try judged(state: 1, pageCount: 9)
        #expect(derived == nil)
        #expect(checks.last?.outcome == .fail)
        #expect(checks.last?.detail == "8 pages, the image has 9")
    }

    @Test func noEntropy() throws {
        let checks = try judged(state: 1, sources: 0).checks
        #expect(checks.filter { $0.outcome == .fail }.map(\.name) == ["entropy"])
    }

    /// A seed that was given is made of nothing else.
    @Test(arguments: [(2, false), (4, true), (6, true), (8, false), (64, true), (128, true)] as [(UInt32, Bool)])
    func demandedSource(found: UInt32, passes: Bool) throws {
        let checks = try judged(state: 1, sources: found, demanded: .setupData).checks
        #expect(checks.filter { $0.outcome == .fail }.map(\.name) == (passes ? [] : ["entropy"]))
        let detail = try #require(checks.first { $0.name == "entropy" }?.detail)
        #expect(detail.hasSuffix(", but not the loader's seed (setup_data)") == !passes)
    }

    @Test func sourcesOfEachWay() {
        var options = GuestOptions()
        #expect(options.sources == [])
        options.firmware = .ovmf
        #expect(options.sources == .efi)
        options.kexecFrom = "vmlinuz"
        #expect(options.sources == .setupData)
    }

    @Test(
        arguments: [
            (2, false, "switched off"), (3, false, "refused"), (4, false, "halted"), (2, true, "switched off"),
            (3, true, "refused"), (4, true, "halted"),
        ] as [(UInt32, Bool, String)])
    func unpermuted(state: UInt32, expected: Bool, name: String) throws {
        let (derived, checks) = try judged(state: state, expectsUnpermuted: expected)
        #expect(derived == nil)
        #expect(checks.map(\.name) == ["permuted"])
        #expect(checks.first?.detail == "\(name): the status")
        #expect(checks.first?.outcome == (expected && state != 4 ? .pass : .fail))
    }

    @Test func permutedAgainstExpectation() throws {
        let checks = try judged(state: 1, expectsUnpermuted: true).checks
        #expect(checks.filter { $0.outcome == .fail }.map(\.name) == ["permuted"])
    }

    @Test func unclear() throws {
        let (derived, checks) = unplaced(8).judge(.unclear("because"), derive)
        #expect(derived == nil)
        #expect(checks == [GuestResult.Check(name: "live-table", outcome: .fail, detail: "because")])
    }

    @Test(arguments: [4, 5])
    func searchedKernelIsCompared(levels: Int) throws {
        var guest = guest
        guest.builder = TableBuilder(levels: levels, at: 0x10_0000)
        let base = VirtualAddress(0xffff_ffff_9740_0000)
        for page in 0..<8 {
            guest.builder.map(
                base.rawValue + UInt64(page) * 0x1000, to: 0x40_0000 + UInt64(page) * 0x1000, flags: 0)
        }
        guest.builder.map(0xffff_ffff_c000_0000, to: 0x60_0000, flags: 0)
        let memory = try guest.memory()
        let (derived, checks) = unplaced(8).atUserspace(.searched(derive), [guest.builder.tables], memory)
        #expect(checks.map(\.outcome) == [.pass])
        #expect(checks.first?.detail == "the kernel begins at 0xffffffff97400000, physical 0x400000")
        let expectation = try #require(derived)
        #expect(expectation.table.virtualBase == base)
        #expect(expectation.table.physicalBase == PhysicalAddress(0x40_0000))
        #expect(expectation.table.movedCount == 0)
        let mapping = expectation.lookAtUserspace([guest.builder.tables], memory).checks.first
        #expect(mapping?.outcome == .pass)
    }

    /// Modules lie above the gigabyte, a page that begins no image at an odd address.
    @Test(arguments: [0xffff_ffff_c020_0000, 0xffff_ffff_8100_1000, 0xffff_8880_0020_0000] as [UInt64])
    func nothingToFind(address: UInt64) throws {
        var guest = guest
        guest.builder = TableBuilder(levels: 4, at: 0x10_0000)
        guest.builder.map(address, to: 0x20_0000, flags: 0)
        let (derived, checks) = unplaced(8).atUserspace(.searched(derive), [guest.builder.tables], try guest.memory())
        #expect(derived == nil)
        #expect(checks == [.init(name: "base", outcome: .fail, detail: "no kernel in the page tables of any CPU")])
    }

    /// The user half of a pair shows only some pages of the kernel, the first of them at 2 MB by chance.
    @Test func userHalf() throws {
        var kernel = TableBuilder(levels: 4, at: 0x14_0000)
        for page in 0..<UInt64(8) {
            kernel.map(0xffff_ffff_8100_0000 + page * 0x1000, to: 0x40_0000 + page * 0x1000, flags: 0)
        }
        var user = TableBuilder(levels: 4, at: 0x15_1000)
        user.map(0xffff_ffff_8120_0000, to: 0x60_0000, flags: 0)
        let memory = try guest.memory()
        kernel.write(into: memory)
        user.write(into: memory)
        let word = memory.word(at: PhysicalAddress(0x14_0ff8)) ?? 0
        memory.write((0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }, atOffset: 0x15_0ff8)
        let base = KernelBase(in: [user.tables], pageCount: 8, memory)
        #expect(base?.virtual == VirtualAddress(0xffff_ffff_8100_0000))
        #expect(base?.physical == PhysicalAddress(0x40_0000))
    }

    @Test func knownOrNothing() throws {
        let memory = try guest.memory()
        let known = unplaced(8).atUserspace(.known(guest.expectation), [guest.builder.tables], memory)
        #expect(known.expectation?.table == guest.expectation.table && known.checks.isEmpty)
        let nothing = unplaced(8).atUserspace(.none, [guest.builder.tables], memory)
        #expect(nothing.expectation == nil && nothing.checks.isEmpty)
    }
}
