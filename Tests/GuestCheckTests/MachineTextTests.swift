// SPDX-License-Identifier: MIT

// What QEMU 7.2 printed, and what is to be read out of it.

import Addressing
import Testing

@testable import GuestCheck

struct MachineTextTests {
    /// `info mtree -f` with `-m 512M`, devices left out.
    static let map512M = """
        FlatView #0
         AS "I/O", root: io
         Root memory region: io
          0000000000000000-0000000000000007 (prio 0, i/o): dma-chan

        FlatView #1
         AS "memory", root: system
         AS "cpu-memory-0", root: system
         Root memory region: system
          0000000000000000-00000000000bffff (prio 0, ram): ram
          00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
          00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
          0000000000100000-000000001fffffff (prio 0, ram): ram @0000000000100000
          00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic

        FlatView #2
         AS "i440FX", root: bus master container
         Root memory region: (none)
         No rendered FlatView

        """

    /// The same with `-m 4096M`: here the view of a CPU in system management mode comes after it.
    static let map4G = """
        FlatView #0
         AS "memory", root: system
         AS "cpu-memory-0", root: system
         Root memory region: system
          0000000000000000-00000000000bffff (prio 0, ram): ram
          00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
          0000000000100000-00000000bfffffff (prio 0, ram): ram @0000000000100000
          00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
          0000000100000000-000000013fffffff (prio 0, ram): ram @00000000c0000000

        FlatView #3
         AS "cpu-smm-0", root: memory
         Root memory region: memory
          0000000000000000-00000000000bffff (prio 0, ram): ram

        """

    @Test func mapBelowTheHole() {
        let map = MemoryMap(parsing: Self.map512M, block: "ram")
        #expect(map.pieces.map(\.guest) == [0..<0xc0000, 0x10_0000..<0x2000_0000])
        #expect(map.offset(of: PhysicalAddress(0x100_0123), count: 8) == 0x100_0123)
        #expect(map.offset(of: PhysicalAddress(0xc_0000), count: 1) == nil, "read-only memory of the firmware")
        #expect(map.offset(of: PhysicalAddress(0x1fff_fff9), count: 8) == nil, "over the end")
        #expect(map.offset(of: PhysicalAddress(0x2000_0000), count: 1) == nil)
    }

    @Test func mapAboveTheHole() {
        let map = MemoryMap(parsing: Self.map4G, block: "ram")
        #expect(map.pieces.count == 3)
        #expect(map.offset(of: PhysicalAddress(0x1_0000_1000), count: 4096) == 0xc000_1000)
        #expect(map.offset(of: PhysicalAddress(0xc000_0000), count: 1) == nil)
        #expect(MemoryMap(parsing: "garbage\nFlatView", block: "ram").pieces.isEmpty)
    }

    @Test func registersOfEachCPU() {
        let text = """

            CPU#0\r
            RAX=ffffffff81a2c6f0 RBX=0000000000000000\r
            CR0=80050033 CR2=00007ffd3fdb4ff8 CR3=0000000005b1e801 CR4=00751ef0\r
            DR0=0000000000000000 DR1=0000000000000000\r

            CPU#1\r
            CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000\r
            """
        let registers = ControlRegisters.parse(text)
        #expect(registers.count == 2)
        #expect(registers.first == ControlRegisters(cpu: 0, cr3: 0x5b1_e801, cr4: 0x75_1ef0))
        #expect(registers.first?.root == PhysicalAddress(0x5b1_e000))
        #expect(registers.first?.pagingLevels == 5)
        #expect(registers.last?.pagingLevels == 4)
    }

    /// The mode, and the frame of the root table without the address-space number; vsatp is a guest's guest's.
    @Test func translationOfEachHart() {
        let text = """

            CPU#0\r
             pc       ffffffff800002c0\r
             satp     a000000000080260\r
             vsatp    8000000000011111\r

            CPU#1\r
             satp     9123400000080261\r

            CPU#2\r
             satp     8000000000080262\r

            CPU#3\r
             satp     0000000000000000\r
             x0/zero  0000000000000000 x1/ra    ffffffff800002c0\r
            """
        let registers = TranslationRegister.parse(text)
        #expect(registers.map(\.cpu) == [0, 1, 2, 3])
        let tables = registers.map(\.tables)
        #expect(tables.map { $0?.levels } == [5, 4, 3, nil])
        #expect(tables.prefix(3).map { $0?.root.rawValue } == [0x8026_0000, 0x8026_1000, 0x8026_2000])
        #expect(tables.allSatisfy { $0 == nil || $0?.format == .riscv })
        #expect(ControlRegisters.parse(text).allSatisfy { $0.cr3 == 0 })
        #expect(TranslationRegister.parse("CPU#0\r\nCR3=0000000005b1e801 CR4=00751ef0\r\n").isEmpty)
    }

    /// Modes that are reserved translate nothing that kperm could follow.
    @Test(arguments: [1, 7, 11, 15] as [UInt64]) func reservedModes(mode: UInt64) {
        #expect(TranslationRegister(cpu: 0, value: mode << 60 | 0x80260).tables == nil)
    }

    @Test func debuggerPackets() {
        #expect(debuggerFrame("?") == "$?#3f")
        #expect(debuggerFrame("OK") == "$OK#9a")
        #expect(debuggerFrame("") == "$#00")
    }
}
