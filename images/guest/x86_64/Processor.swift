// SPDX-License-Identifier: MIT

// What this kernel knows of x86-64.

/// A virtual address of the image less the physical one of the same page where nothing has moved.
let linearBase: UInt64 = 0xffff_ffff_8000_0000

/// Memory outside the image, as if from the heap.
let heap: UInt64 = 64 << 20

/// Whether entry.S shows the memory at a physical address at the same virtual one.
func isMemory(_ physical: UInt64) -> Bool { physical < 1 << 30 }

/// Whether the loader's argument is what it should be: the structure of a PVH start.
func isStartInfo(_ address: UInt64) -> Bool {
    isMemory(address) && address != 0 && word(at: address) & 0xffff_ffff == 0x336e_c578
}

/// What `memblock_reserve` was told. In .data: it is called before .bss is cleared.
@section(".data") nonisolated(unsafe) private var reserved: [4 of (base: UInt64, size: UInt64)] = [
    (0, 0), (0, 0), (0, 0), (0, 0),
]
@section(".data") nonisolated(unsafe) private var reservedCount = 0

/// Keeps memory from being given away. Nothing here gives memory away; it is remembered because
/// kperm's boot stub reserves what it appended to the image, and so says where to look for the table.
@c(memblock_reserve) public func memblockReserve(base: UInt64, size: UInt64) -> Int32 {
    guard unsafe reservedCount < reserved.count, isMemory(size), isMemory(base), isMemory(base + size) else {
        return -1
    }
    unsafe reserved[reservedCount] = (base, size)
    unsafe reservedCount += 1
    return 0
}

/// The translation table on the pages that were reserved.
func findTable() -> UnsafeRawBufferPointer? {
    for i in 0..<(unsafe reservedCount) {
        let region = unsafe reserved[i]
        let end = region.base + region.size
        for page in stride(from: region.base, to: end, by: Int(pageBytes)) {
            let rest = unsafe UnsafeRawBufferPointer(
                start: UnsafeRawPointer(bitPattern: UInt(page)), count: Int(end - page))
            if let pages = unsafe TableLookup.pageCount(rest.bytes) {
                return unsafe UnsafeRawBufferPointer(rebasing: rest[..<TableLookup.byteCount(pages: pages)])
            }
        }
    }
    return nil
}

/// What the processor does with a virtual address, or nil if it would fault: four levels, with large leaves.
func pageWalk(_ virtual: UInt64) -> UInt64? {
    let addressBits: UInt64 = 0x000f_ffff_ffff_f000
    var entry = readCR3()
    for shift: UInt64 in stride(from: 39, through: 12, by: -9) {
        let table = entry & addressBits
        guard isMemory(table) else { return nil }
        entry = word(at: table + (virtual >> shift & 511) * 8)
        guard entry & 1 != 0 else { return nil }
        if shift == 12 || shift < 39 && entry & 0x80 != 0 {
            let offsetBits = (1 as UInt64) << shift - 1
            return entry & addressBits & ~offsetBits | virtual & offsetBits
        }
    }
    return nil
}

/// A byte for COM1.
func put(_ byte: UInt8) {
    while readPort(0x3fd) & 0x20 == 0 {}
    writePort(0x3f8, byte)
}
