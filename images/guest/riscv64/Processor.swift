// SPDX-License-Identifier: MIT

// What this kernel knows of RISC-V, and of the machine it runs on (QEMU's `virt`).

/// A virtual address of the image less the physical one of the same page where nothing has moved.
let linearBase: UInt64 = 0xffff_ffff_8000_0000 - 0x8020_0000

/// Memory outside the image, as if from the heap.
let heap: UInt64 = 0x8400_0000

/// Whether entry.S shows the memory at a physical address at the same virtual one.
func isMemory(_ physical: UInt64) -> Bool { physical >= 0x8000_0000 && physical < 0xc000_0000 }

/// Whether the loader's argument is what it should be: a device tree, which begins with a big-endian number.
func isStartInfo(_ address: UInt64) -> Bool {
    isMemory(address) && word(at: address) & 0xffff_ffff == 0xedfe_0dd0
}

/// The translation table behind the image, where kperm has noted its address.
func findTable() -> UnsafeRawBufferPointer? {
    let start = word(at: translationTablePointer())
    guard isMemory(start) else { return nil }
    let rest = unsafe UnsafeRawBufferPointer(
        start: UnsafeRawPointer(bitPattern: UInt(start)), count: TableLookup.byteCount(pages: 1024))
    guard let pages = unsafe TableLookup.pageCount(rest.bytes) else { return nil }
    return unsafe UnsafeRawBufferPointer(rebasing: rest[..<TableLookup.byteCount(pages: pages)])
}

/// What the processor does with a virtual address, or nil if it would fault: three to five levels, with large leaves.
func pageWalk(_ virtual: UInt64) -> UInt64? {
    var table = (readSATP() & 0xfff_ffff_ffff) << 12
    for shift in stride(from: 12 + 9 * (pagingLevels() - 1), through: 12, by: -9) {
        guard isMemory(table) else { return nil }
        let entry = word(at: table + (virtual >> UInt64(shift) & 511) * 8)
        guard entry & 1 != 0 else { return nil }
        table = (entry >> 10 & 0xfff_ffff_ffff) << 12
        if entry & 0xe != 0 { return table | virtual & ((1 as UInt64) << UInt64(shift) - 1) }
    }
    return nil
}

/// 3, 4 or 5: the processor runs in Sv39, Sv48 or Sv57.
private func pagingLevels() -> Int { Int(readSATP() >> 60) - 5 }

/// How many bits of an address are translated.
func checkPaging() -> Verdict { .pass(12 + 9 * pagingLevels(), " bits of address") }

/// The other harts start, with the MMU off and then by these page tables.
func checkHarts() -> Verdict {
    /// Hart state management, a part of the firmware's interface.
    let harts: UInt64 = 0x48534d
    let boot = word(at: bootHart())
    let start = Translation().physical(secondaryStart())
    var started: UInt64 = 0
    for hart: UInt64 in 0..<64 where hart != boot {
        if callFirmware(harts, 0, hart, start, 0) == 0 { started += 1 }
    }
    for _ in 0..<100_000_000 {
        pauseForOthers()
        if word(at: hartsUp()) == started { return .pass(Int(started) + 1, " harts") }
    }
    return .fail(hartsUp())
}

/// A byte for the serial port.
func put(_ byte: UInt8) {
    let port: UInt64 = 0x1000_0000
    while readDevice(port + 5) & 0x20 == 0 {}
    writeDevice(port, byte)
}
