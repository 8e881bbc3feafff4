// SPDX-License-Identifier: MIT

// `virt_to_phys` and `phys_to_virt` in the forms that paging modes ask for. A kernel
// for one mode has its offset in the instruction. One that serves several has to
// read it, and to tell the image from the linear map it compares: with the top of
// the address space, where the image lies in every mode (x86: StockTranslation), or
// with borders that it has to read as well (RISC-V).

public import Addressing
public import PagePermutation

/// The linear map's formula in a kernel for one mode that is loaded at one place: everything is a constant.
public struct ConstantOffset: LookupStrategy, ~Copyable {
    /// Without KASLR and with four levels, x86-64 shows physical address 0 here.
    @inline(__always)
    private static var offset: UInt64 { 0xffff_8880_0000_0000 }

    private let none = LookupMemory(byteCount: 0)

    public init() {}

    public var name: String { "constant offset" }
    public var tableBytes: Int { 0 }
    public var cacheLines: Int { 0 }
    public var memory: UnsafeRawBufferPointer { unsafe none.bytes }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        PhysicalAddress(address.rawValue &- Self.offset)
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        VirtualAddress(address.rawValue &+ Self.offset)
    }
}

/// The linear map's formula in a kernel that serves several modes: the offset is a word in memory.
public struct VariableOffset: LookupStrategy, ~Copyable {
    private let offset: LookupMemory

    public init(directMap: VirtualAddress = StockTranslation.usualDirectMap) {
        var memory = LookupMemory(byteCount: 8)
        memory.store(directMap.rawValue, 0, 0)
        offset = memory
    }

    public var name: String { "variable offset" }
    public var tableBytes: Int { 0 }
    public var cacheLines: Int { 1 }
    public var memory: UnsafeRawBufferPointer { unsafe offset.bytes }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        PhysicalAddress(address.rawValue &- offset.load(0, 0, as: UInt64.self))
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        VirtualAddress(address.rawValue &+ offset.load(0, 0, as: UInt64.self))
    }
}

/// RISC-V's `__va_to_pa_nodebug`: whether an address is of the linear map is asked of a border in memory.
public struct BorderTest: LookupStrategy, ~Copyable {
    /// `page_offset`, `va_pa_offset`, `va_kernel_pa_offset`, as they stand in `kernel_map`, and the linear map's size,
    /// which depends on the mode, too.
    private let map: LookupMemory

    public init(
        _ table: TranslationTable, directMap: VirtualAddress = StockTranslation.usualDirectMap,
        linearBytes: UInt64 = 1 << 46
    ) {
        var memory = LookupMemory(byteCount: 32)
        memory.store(directMap.rawValue, 0, 0)
        memory.store(directMap.rawValue, 0, 1)
        memory.store(table.virtualBase.rawValue &- table.physicalBase.rawValue, 0, 2)
        memory.store(linearBytes, 0, 3)
        map = memory
    }

    public var name: String { "test of borders in memory" }
    public var tableBytes: Int { 0 }
    public var cacheLines: Int { 1 }
    public var memory: UnsafeRawBufferPointer { unsafe map.bytes }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        let isLinear = address.rawValue &- map.load(0, 0, as: UInt64.self) < map.load(0, 3, as: UInt64.self)
        return PhysicalAddress(address.rawValue &- map.load(0, isLinear ? 1 : 2, as: UInt64.self))
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        VirtualAddress(address.rawValue &+ map.load(0, 1, as: UInt64.self))
    }
}

/// The table for the image, and a variable offset for the linear map: what a permuted kernel for several modes does.
public struct TableAndOffset: LookupStrategy, ~Copyable {
    private let image: FlatOffsets
    private let direct: VariableOffset
    private let place: ImagePlace

    public init(_ table: TranslationTable, directMap: VirtualAddress = StockTranslation.usualDirectMap) {
        image = FlatOffsets(table)
        direct = VariableOffset(directMap: directMap)
        place = ImagePlace(table)
    }

    public var name: String { "table, variable offset" }
    public var tableBytes: Int { image.tableBytes }
    public var cacheLines: Int { 2 }
    public var memory: UnsafeRawBufferPointer { unsafe image.memory }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        (address.rawValue &- place.virtualBase) >> 12 < place.pages
            ? image.physicalAddress(of: address) : direct.physicalAddress(of: address)
    }

    /// Where the image shows a frame of its own; of all others, their address in the linear map.
    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        (address.rawValue &- place.physicalBase) >> 12 < place.pages
            ? image.virtualAddress(of: address) : direct.virtualAddress(of: address)
    }
}

/// Another strategy's way back in the place of its way there, so that the same loops time it.
struct WayBack<Strategy: LookupStrategy & ~Copyable>: LookupStrategy, ~Copyable {
    private let strategy: Strategy

    init(_ strategy: consuming Strategy) { self.strategy = strategy }

    var name: String { strategy.name }
    var tableBytes: Int { strategy.tableBytes }
    var cacheLines: Int { strategy.cacheLines }
    var memory: UnsafeRawBufferPointer { unsafe strategy.memory }

    @inline(__always)
    func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        PhysicalAddress(strategy.virtualAddress(of: PhysicalAddress(address.rawValue)).rawValue)
    }

    @inline(__always)
    func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        VirtualAddress(strategy.physicalAddress(of: VirtualAddress(address.rawValue)).rawValue)
    }
}
