// SPDX-License-Identifier: MIT

// Addresses as this kernel sees them: three answers to where a virtual address of the image lies, each
// found without the others' help: linear, by the translation table, and by a walk of the page tables.

let pageBytes: UInt64 = 4096

/// A word of memory: at a virtual address, or at a physical one that is mapped at its own address.
func word(at address: UInt64) -> UInt64 {
    unsafe UnsafePointer(bitPattern: UInt(address)).unsafelyUnwrapped.pointee
}

func store<T>(_ value: T, at address: UInt64) {
    unsafe UnsafeMutablePointer(bitPattern: UInt(address)).unsafelyUnwrapped.pointee = value
}

/// `virt_to_phys` and `phys_to_virt` of the image: by the table in a permuted kernel, linear in one as it was built.
@safe struct Translation {
    let table: UnsafeRawBufferPointer?

    init() { unsafe table = findTable() }

    static func linear(_ virtual: UInt64) -> UInt64 { virtual &- linearBase }

    func physical(_ virtual: UInt64) -> UInt64 {
        guard let table = unsafe table else { return Self.linear(virtual) }
        return unsafe TableLookup.physicalAddress(of: virtual, in: table.bytes) ?? Self.linear(virtual)
    }

    func virtual(_ physical: UInt64) -> UInt64 {
        guard let table = unsafe table else { return physical &+ linearBase }
        return unsafe TableLookup.virtualAddress(of: physical, in: table.bytes) ?? physical &+ linearBase
    }
}
