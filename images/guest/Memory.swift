// SPDX-License-Identifier: MIT

// Addresses as this kernel sees them: three answers to where a virtual address of the image lies, each
// found without the others' help: linear, by the translation table, and by a walk of the page tables.

let pageBytes: UInt64 = 4096

/// Physical memory below this is mapped at its own address.
let identityEnd: UInt64 = 1 << 30

/// A word of memory: at a virtual address, or at a physical one below `identityEnd`.
func word(at address: UInt64) -> UInt64 {
    unsafe UnsafePointer(bitPattern: UInt(address)).unsafelyUnwrapped.pointee
}

/// What `memblock_reserve` was told. In .data: it is called before .bss is cleared.
@section(".data") nonisolated(unsafe) private var reserved: [4 of (base: UInt64, size: UInt64)] = [
    (0, 0), (0, 0), (0, 0), (0, 0),
]
@section(".data") nonisolated(unsafe) private var reservedCount = 0

/// Keeps memory from being given away. Nothing here gives memory away; it is remembered because
/// kperm's boot stub reserves what it appended to the image, and so says where to look for the table.
@c(memblock_reserve) public func memblockReserve(base: UInt64, size: UInt64) -> Int32 {
    guard unsafe reservedCount < reserved.count, size <= identityEnd, base <= identityEnd - size else { return -1 }
    unsafe reserved[reservedCount] = (base, size)
    unsafe reservedCount += 1
    return 0
}

/// `virt_to_phys` and `phys_to_virt` of the image: by the table in a permuted kernel, linear in one as it was built.
@safe struct Translation {
    private static let linearBase: UInt64 = 0xffff_ffff_8000_0000

    let table: UnsafeRawBufferPointer?

    /// Looks for the table on the pages that were reserved.
    init() {
        for i in 0..<(unsafe reservedCount) {
            let region = unsafe reserved[i]
            let end = region.base + region.size
            for page in stride(from: region.base, to: end, by: Int(pageBytes)) {
                let rest = unsafe UnsafeRawBufferPointer(
                    start: UnsafeRawPointer(bitPattern: UInt(page)), count: Int(end - page))
                if let pages = unsafe TableLookup.pageCount(rest.bytes) {
                    unsafe table = UnsafeRawBufferPointer(rebasing: rest[..<TableLookup.byteCount(pages: pages)])
                    return
                }
            }
        }
        unsafe table = nil
    }

    static func linear(_ virtual: UInt64) -> UInt64 { virtual &- linearBase }

    func physical(_ virtual: UInt64) -> UInt64 {
        guard let table = unsafe table else { return Self.linear(virtual) }
        return unsafe TableLookup.physicalAddress(of: virtual, in: table.bytes) ?? Self.linear(virtual)
    }

    func virtual(_ physical: UInt64) -> UInt64 {
        guard let table = unsafe table else { return physical &+ Self.linearBase }
        return unsafe TableLookup.virtualAddress(of: physical, in: table.bytes) ?? physical &+ Self.linearBase
    }
}

/// What the processor does with a virtual address, or nil if it would fault: four levels, with large leaves.
func pageWalk(_ virtual: UInt64) -> UInt64? {
    let addressBits: UInt64 = 0x000f_ffff_ffff_f000
    var entry = readCR3()
    for shift: UInt64 in stride(from: 39, through: 12, by: -9) {
        let table = entry & addressBits
        guard table < identityEnd else { return nil }
        entry = word(at: table + (virtual >> shift & 511) * 8)
        guard entry & 1 != 0 else { return nil }
        if shift == 12 || shift < 39 && entry & 0x80 != 0 {
            let offsetBits = (1 as UInt64) << shift - 1
            return entry & addressBits & ~offsetBits | virtual & offsetBits
        }
    }
    return nil
}
