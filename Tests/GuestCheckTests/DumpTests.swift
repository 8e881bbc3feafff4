// SPDX-License-Identifier: MIT

// A dump made of values: the memory of the synthetic guest behind the headers
// that /proc/vmcore has. A right one passes, and one wrong in one thing fails.

import Addressing
import FoundationEssentials
import PagePermutation
import Testing

@testable import GuestCheck

struct DumpTests {
    private static let dataOffset = 0x1000
    private static let area = 0x40_0000

    /// An ELF core file of a guest's eight megabytes.
    private func dump(of memory: borrowing GuestMemory, information: String? = nil) throws -> [UInt8] {
        func number(_ value: UInt64, _ bytes: Int) -> [UInt8] {
            (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
        let notes = Array(
            (information ?? """
                VMCOREINFO\0OSRELEASE=6.1.0
                SYMBOL(swapper_pg_dir)=ffffffff81000000
                NUMBER(phys_base)=-15728640
                NUMBER(pgtable_l5_enabled)=0

                """).utf8)
        func segment(_ kind: UInt64, _ offset: Int, _ physical: UInt64, _ count: Int) -> [UInt8] {
            number(kind, 4) + number(0, 4) + number(UInt64(offset), 8) + number(0, 8) + number(physical, 8)
                + number(UInt64(count), 8) + number(UInt64(count), 8) + number(0, 8)
        }
        var bytes: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 25)
        bytes += number(64, 8) + [UInt8](repeating: 0, count: 14) + number(56, 2) + number(2, 2) + number(0, 6)
        bytes += segment(4, 0x200, 0, notes.count) + segment(1, Self.dataOffset, 0, memory.size)
        bytes += [UInt8](repeating: 0, count: 0x200 - bytes.count) + notes
        bytes += [UInt8](repeating: 0, count: Self.dataOffset - bytes.count)
        return bytes + (memory.bytes(atOffset: 0, count: memory.size) ?? [])
    }

    private func judge(
        _ guest: SyntheticGuest, _ tables: [TranslationTable]? = nil, information: String? = nil,
        change: (inout [UInt8]) -> Void = { _ in }
    ) throws -> [GuestResult.Check] {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let memory = try guest.memory()
        for (i, table) in (tables ?? [guest.expectation.table]).enumerated() {
            memory.write(SyntheticArea(table, state: 1).bytes, atOffset: Self.area + i * 0x4000)
        }
        var bytes = try dump(of: memory, information: information)
        change(&bytes)
        try writeFile("\(directory)/dump", bytes)
        var expectation = guest.expectation
        expectation.placement = .live { _ in guest.expectation }
        return expectation.lookAtDump("\(directory)/dump", .known(guest.expectation)).checks
    }

    private func failures(_ checks: [GuestResult.Check]) -> [String] {
        checks.filter { $0.outcome == .fail }.map(\.name)
    }

    @Test func rightDumpPasses() throws {
        let checks = try judge(SyntheticGuest())
        #expect(checks.map(\.name) == ["dump-table", "dump-mapping", "dump-bytes", "rights", "aliases"])
        #expect(failures(checks).isEmpty)
    }

    @Test func oneByteChanged() throws {
        var guest = try SyntheticGuest()
        guest.expectation.patchSites = []
        let place = Self.dataOffset + Int(SyntheticGuest.frames) + 0x123
        #expect(failures(try judge(guest) { $0[place] ^= 1 }) == ["dump-bytes"])
    }

    @Test func oneFrameWrong() throws {
        var guest = try SyntheticGuest()
        guest.builder.map(SyntheticGuest.base, to: SyntheticGuest.frames, flags: 0)
        #expect(failures(try judge(guest)) == ["dump-mapping", "dump-bytes", "aliases"])
    }

    @Test func anotherTableOrNone() throws {
        let guest = try SyntheticGuest()
        let table = guest.expectation.table
        let identity = TranslationTable(
            Permutation(identity: table.pageCount), virtualBase: table.virtualBase, physicalBase: table.physicalBase)
        #expect(failures(try judge(guest, [identity])) == ["dump-table"])
        #expect(failures(try judge(guest, [identity, identity])) == ["dump-table"])
        #expect(failures(try judge(guest) { $0[Self.dataOffset + Self.area] ^= 1 }) == ["dump-table"])
    }

    /// The kernel that resumed this one from hibernation left its own.
    @Test func tableOfAnEarlierKernelBesideIt() throws {
        let guest = try SyntheticGuest()
        let table = guest.expectation.table
        let earlier = TranslationTable(
            Permutation(identity: table.pageCount), virtualBase: table.virtualBase, physicalBase: table.physicalBase)
        #expect(failures(try judge(guest, [earlier, table])).isEmpty)
    }

    @Test func whatIsNoDump() throws {
        let guest = try SyntheticGuest()
        #expect(failures(try judge(guest) { $0[0] = 0 }) == ["dump"])
        #expect(failures(try judge(guest) { $0 = Array($0[..<80]) }) == ["dump"])
        #expect(failures(try judge(guest, information: "VMCOREINFO\0OSRELEASE=6.1.0\n")) == ["dump"])
        let wrongRoot = "VMCOREINFO\0\nSYMBOL(swapper_pg_dir)=ffffffff81000000\nNUMBER(phys_base)=0\n"
        #expect(failures(try judge(guest, information: wrongRoot)) == ["dump-mapping", "dump-bytes"])
        let missing = guest.expectation.lookAtDump("/no/such/dump", .known(guest.expectation))
        #expect(missing.checks.map(\.outcome) == [.fail])
    }
}
