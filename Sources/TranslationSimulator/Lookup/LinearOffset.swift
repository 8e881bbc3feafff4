// SPDX-License-Identifier: MIT

// Today's kernel: an image in one piece, and one addition. The physical base is
// a word in memory, as `phys_base` is, and not a constant.

public import Addressing
public import PagePermutation

/// What `virt_to_phys` of an address of the image is in an unpermuted kernel.
public struct LinearOffset: LookupStrategy, ~Copyable {
    private let virtualBase: UInt64
    private let physicalBase: LookupMemory

    public init(_ table: TranslationTable) {
        virtualBase = table.virtualBase.rawValue
        var memory = LookupMemory(byteCount: 8)
        memory.store(table.physicalBase.rawValue, 0, 0)
        physicalBase = memory
    }

    public var name: String { "linear offset" }
    public var tableBytes: Int { 0 }
    public var cacheLines: Int { 1 }
    public var memory: UnsafeRawBufferPointer { unsafe physicalBase.bytes }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        PhysicalAddress(address.rawValue &- virtualBase &+ physicalBase.load(0, 0, as: UInt64.self))
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        VirtualAddress(address.rawValue &- physicalBase.load(0, 0, as: UInt64.self) &+ virtualBase)
    }
}
