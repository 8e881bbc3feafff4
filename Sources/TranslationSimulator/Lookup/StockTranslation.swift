// SPDX-License-Identifier: MIT

// The whole `virt_to_phys` of x86-64 Linux (`__phys_addr_nodebug`), of which the
// linear offset is a part: it serves the image's mapping and the direct map, and
// takes either's offset by comparing.

public import Addressing
public import PagePermutation

/// An unpermuted kernel's translation of an address of either mapping.
public struct StockTranslation: LookupStrategy, ~Copyable {
    /// Where x86-64 Linux has its direct map with four levels of page tables and without KASLR.
    public static let usualDirectMap = VirtualAddress(0xffff_8880_0000_0000)

    /// Where the image's mapping begins: `__START_KERNEL_map`.
    private let imageMap: UInt64
    /// `phys_base`, and `page_offset_base` behind it.
    private let bases: LookupMemory

    public init(_ table: TranslationTable, directMap: VirtualAddress = Self.usualDirectMap) {
        imageMap = table.virtualBase.rawValue & ~(1 << 31 - 1)
        var memory = LookupMemory(byteCount: 16)
        memory.store(table.physicalBase.rawValue &- (table.virtualBase.rawValue &- imageMap), 0, 0)
        memory.store(directMap.rawValue, 0, 1)
        bases = memory
    }

    public var name: String { "linear, both mappings" }
    public var tableBytes: Int { 0 }
    public var cacheLines: Int { 1 }
    public var memory: UnsafeRawBufferPointer { unsafe bases.bytes }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        let offset = address.rawValue &- imageMap
        let imageOffset = bases.load(0, 0, as: UInt64.self)
        let directOffset = imageMap &- bases.load(0, 1, as: UInt64.self)
        return PhysicalAddress(offset &+ (address.rawValue > offset ? imageOffset : directOffset))
    }

    /// `__va`: an address of the direct map, of the image's frames, too.
    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        VirtualAddress(address.rawValue &+ bases.load(0, 1, as: UInt64.self))
    }
}
