// SPDX-License-Identifier: MIT

import Addressing
import PagePermutation
import Testing

@testable import GuestCheck

struct BootAreaTests {
    static let status = "permuted: 4 of 8 pages moved, drawn at boot"

    private func area(state: UInt32) throws -> SyntheticArea {
        SyntheticArea(try SyntheticGuest().expectation.table, state: state, status: Self.status + "\n")
    }

    private func memory(_ areas: [Int: SyntheticArea]) throws -> GuestMemory {
        let memory = try GuestMemory(size: 8 << 20)
        for (offset, area) in areas { memory.write(area.bytes, atOffset: offset) }
        return memory
    }

    private func problem(_ memory: borrowing GuestMemory) -> String? {
        guard case .unclear(let problem) = BootAreas(in: memory).drawing(in: memory) else { return nil }
        return problem
    }

    @Test func liveOneAmongCopies() throws {
        let memory = try memory([
            0x10_0000: area(state: 0), 0x40_3000: area(state: 1), 0x70_0000: area(state: 0),
        ])
        let areas = BootAreas(in: memory)
        #expect(areas.idle == 2 && areas.damaged == 0)
        #expect(areas.live.map(\.offset) == [0x40_3000])
        guard case .permuted(let area, let table) = areas.drawing(in: memory) else {
            Issue.record("not taken for permuted")
            return
        }
        #expect(table == (try SyntheticGuest().expectation.table))
        #expect(area.status == Self.status)
        #expect(area.movedCount == 4 && area.pageCount == 8)
        #expect(area.sources.names == ["RDSEED", "RDRAND"])
    }

    @Test func nothingRan() throws {
        let memory = try memory([0x10_0000: area(state: 0)])
        let areas = BootAreas(in: memory)
        #expect(areas.drawing(in: memory) == nil)
        #expect(areas.absence == "no live boot area in guest memory: 1 that never ran, 0 with a wrong checksum")
        let empty = try self.memory([:])
        #expect(BootAreas(in: empty).drawing(in: empty) == nil)
    }

    @Test(arguments: [0, 1] as [UInt32])
    func wrongChecksum(state: UInt32) throws {
        var area = try area(state: state)
        area.bytes[0x333] ^= 1
        let memory = try memory([0x10_0000: area])
        let areas = BootAreas(in: memory)
        #expect(areas.live.isEmpty && areas.idle == 0 && areas.damaged == 1)
        #expect(problem(memory) == (state == 0 ? nil : "the boot area's checksum is wrong"))
    }

    /// A damaged copy does not matter where the live one is whole.
    @Test func damagedCopy() throws {
        var copy = try area(state: 0)
        copy.bytes[0x104] ^= 1
        let memory = try memory([0x10_0000: copy, 0x20_0000: area(state: 1)])
        #expect(BootAreas(in: memory).damaged == 1)
        guard case .permuted = BootAreas(in: memory).drawing(in: memory) else {
            Issue.record("not taken for permuted")
            return
        }
    }

    @Test func twoLive() throws {
        let memory = try memory([0x10_0000: area(state: 1), 0x20_0000: area(state: 3)])
        #expect(problem(memory) == "2 live boot areas in guest memory: 0x100000, 0x200000")
    }

    @Test(
        arguments: [
            (0x08, 2), (0x0c, 0x3ff), (0x0c, 0x10_0000), (0x18, 0x3001), (0x18, 0x1000_0000), (0x20, 5), (0x104, 0),
            (0x154, 0x3000), (0x15c, 0x2f00),
        ] as [(Int, UInt32)])
    func implausible(offset: Int, value: UInt32) throws {
        var area = try area(state: 1)
        area.put(offset, value)
        area.sign()
        let memory = try memory([0x10_0000: area])
        #expect(throws: BootArea.Flaw.implausible) { try BootArea(at: 0x10_0000, in: memory) }
        #expect(BootAreas(in: memory).live.isEmpty)
    }

    @Test func notAtPage() throws {
        let memory = try memory([0x10_0800: area(state: 1)])
        #expect(BootAreas(in: memory).live.isEmpty)
    }

    /// It would be read beyond the memory's end.
    @Test func atTheEnd() throws {
        let memory = try memory([(8 << 20) - 0x1000: area(state: 1)])
        #expect(BootAreas(in: memory).live.isEmpty)
    }

    @Test func tableNotWhole() throws {
        var area = try area(state: 1)
        area.bytes[SyntheticArea.tableOffset + 50] ^= 1
        #expect(problem(try memory([0x10_0000: area]))?.hasPrefix("translation table damaged") == true)
        area.bytes[SyntheticArea.tableOffset] = 0
        #expect(problem(try memory([0x10_0000: area]))?.hasPrefix("no translation table") == true)
        area = try self.area(state: 1)
        area.put(0x2c, UInt32(5))
        #expect(problem(try memory([0x10_0000: area])) == "5 pages moved, says the stub; by the table 4")
        area = try self.area(state: 1)
        area.put(0x104, UInt32(9))
        area.sign()
        #expect(problem(try memory([0x10_0000: area])) == "the live table is of 8 pages, the boot area of 9")
    }

    @Test func goIsWritten() throws {
        var damaged = try area(state: 1)
        damaged.bytes[0x333] ^= 1
        let memory = try memory([
            0x10_0000: area(state: 0), 0x20_0000: area(state: 1), 0x30_0000: damaged,
        ])
        BootAreas(in: memory).letGo(in: memory)
        let go = [0x10_0000, 0x20_0000, 0x30_0000].map { memory.bytes(atOffset: $0 + 0x24, count: 4)?.first }
        #expect(go == [0, 1, 1])
        #expect(BootAreas(in: memory).live.count == 1, "the checksum does not cover it")
    }

    @Test func namesOfSources() {
        #expect(BootArea.Sources(rawValue: 0).names.isEmpty)
        #expect(BootArea.Sources(rawValue: 0xff).names.count == 8)
        #expect(BootArea.Sources(rawValue: 0x120).names == ["time-stamp counter", "unknown (0x100)"])
    }
}
