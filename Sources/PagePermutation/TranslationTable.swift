// SPDX-License-Identifier: MIT

// The generated `virt_to_phys` table: a permutation together with the two
// addresses it is anchored at. The bytes and the lookup live in
// TableLookup.swift; here is the value that tools hold, checked on the way in.

public import Addressing

/// A bijection between the image's pages and its frames, at fixed addresses.
public struct TranslationTable: Equatable, Sendable {
    public let virtualBase: VirtualAddress
    public let physicalBase: PhysicalAddress
    /// Drawn by the tool (true) or by the boot stub (false).
    public let isBaked: Bool
    /// The frame of each page.
    public let forward: [UInt32]
    /// The page in each frame.
    public let inverse: [UInt32]

    public init(
        _ permutation: Permutation, virtualBase: VirtualAddress, physicalBase: PhysicalAddress, isBaked: Bool = true
    ) {
        self.virtualBase = virtualBase
        self.physicalBase = physicalBase
        self.isBaked = isBaked
        forward = permutation.forward
        inverse = permutation.inverse
    }

    public var pageCount: Int { forward.count }

    /// Pages whose frame differs from the one a linear mapping would give.
    public var movedCount: Int { forward.indices.count { forward[$0] != UInt32($0) } }

    public func frame(of page: Page) -> Frame { Frame(Int(forward[page.index])) }

    public func page(in frame: Frame) -> Page { Page(Int(inverse[frame.index])) }

    /// The physical address behind a virtual address of the image, or nil outside it.
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress? {
        let offset = address.rawValue &- virtualBase.rawValue
        guard offset >> 12 < UInt64(pageCount) else { return nil }
        return physicalBase + (UInt64(forward[Int(offset >> 12)]) << 12 + offset & 0xfff)
    }

    /// The virtual address of the image that shows a physical address, or nil outside its frames.
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress? {
        let offset = address.rawValue &- physicalBase.rawValue
        guard offset >> 12 < UInt64(pageCount) else { return nil }
        return virtualBase + (UInt64(inverse[Int(offset >> 12)]) << 12 + offset & 0xfff)
    }
}

/// Why bytes are not a translation table.
public enum TableError: Error, Equatable, Sendable {
    case notATable
    case checksum(stored: UInt32, computed: UInt32)
    case notABijection(page: Int)
}

extension TableError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notATable: "no translation table (magic KPERMTBL, version \(TableLookup.version)) here"
        case .checksum(let stored, let computed):
            "translation table damaged: checksum \(stored.hex) stored, \(computed.hex) computed"
        case .notABijection(let page): "translation table damaged: page \(page) does not lead to a frame and back"
        }
    }
}

extension TranslationTable {
    /// The binary form (TableLookup.swift gives the layout).
    public var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(TableLookup.byteCount(pages: pageCount))
        func put<T: FixedWidthInteger>(_ value: T) {
            unsafe withUnsafeBytes(of: value.littleEndian) { unsafe out.append(contentsOf: $0) }
        }
        put(TableLookup.magic)
        put(TableLookup.version)
        put(isBaked ? TableLookup.bakedFlag : 0)
        put(UInt32(pageCount))
        put(virtualBase.rawValue)
        put(physicalBase.rawValue)
        put(UInt32(movedCount))
        put(UInt32(0))
        for frame in forward { put(frame) }
        for page in inverse { put(page) }
        let sum = unsafe TableLookup.checksum(out.span.bytes)
        for i in 0..<4 { out[TableLookup.checksumOffset + i] = UInt8(truncatingIfNeeded: sum >> (8 * i)) }
        return out
    }

    /// Reads the binary form, and checks it: the checksum, and that it is a bijection both ways.
    public init(reading table: RawSpan) throws(TableError) {
        guard let pages = TableLookup.pageCount(table) else { throw .notATable }
        let bytes = table.extracting(0..<TableLookup.byteCount(pages: pages))
        let stored = TableLookup.read(bytes, TableLookup.checksumOffset, UInt32.self)
        let computed = TableLookup.checksum(bytes)
        guard stored == computed else { throw .checksum(stored: stored, computed: computed) }
        let entries = TableLookup.headerBytes
        forward = (0..<pages).map { TableLookup.read(bytes, entries + 4 * $0, UInt32.self) }
        inverse = (0..<pages).map { TableLookup.read(bytes, entries + 4 * (pages + $0), UInt32.self) }
        for page in 0..<pages {
            guard forward[page] < pages, inverse[Int(forward[page])] == page else { throw .notABijection(page: page) }
        }
        virtualBase = VirtualAddress(TableLookup.virtualBase(bytes))
        physicalBase = PhysicalAddress(TableLookup.physicalBase(bytes))
        isBaked = TableLookup.read(bytes, 10, UInt16.self) & TableLookup.bakedFlag != 0
    }
}

extension TranslationTable {
    /// The size of the binary form.
    public var byteCount: Int { TableLookup.byteCount(pages: pageCount) }
}
