// SPDX-License-Identifier: MIT

// What lies at which virtual address, besides the image: how large it is mapped,
// and which frames stand behind it. A trace says where the image is and nothing
// of the rest, so the rest is x86-64's layout with four levels of page tables
// and no randomized regions (`nokaslr`, or the kernel's documentation, mm.rst).
// The linear map can be put elsewhere. All other memory (vmalloc, modules,
// stacks, the vmemmap, user memory) is mapped in single pages, the vmemmap in
// 2M; their frames are scattered by a hash, for nothing is known of them.

public import Addressing

/// How memory outside the image is mapped.
public struct AddressSpace: Equatable, Sendable {
    /// Where all physical memory shows in order.
    public var linearMap: Range<VirtualAddress>
    public var linearMapping: MappingSize

    private static let vmemmap: Range<UInt64> = 0xffff_ea00_0000_0000..<0xffff_eb00_0000_0000

    /// - Parameter linearMap: its ends must be those of mappings of 1G.
    public init(
        linearMap: Range<VirtualAddress> =
            VirtualAddress(0xffff_8880_0000_0000)..<VirtualAddress(0xffff_c880_0000_0000),
        linearMapping: MappingSize = .size2M
    ) {
        self.linearMap = linearMap
        self.linearMapping = linearMapping
    }

    /// Whether four levels of page tables reach a page: the sixteen bits of its address above them are all alike.
    static func isCanonical(page number: UInt64) -> Bool { number >> 35 == 0 || number >> 35 == 1 << 17 - 1 }

    /// Why an image cannot lie at a place; nil where it can.
    public func obstacle(toImageAt base: VirtualAddress, bytes: UInt64) -> String? {
        let last = base.rawValue &+ (bytes &- 1)
        guard Self.isCanonical(page: base.rawValue >> 12), Self.isCanonical(page: last >> 12) else {
            return "its image lies where four levels of page tables do not reach"
        }
        // Whole gigabytes, which may be one mapping.
        let image = base.rawValue >> 30...last >> 30
        let linear = linearMap.lowerBound.rawValue >> 30..<linearMap.upperBound.rawValue >> 30
        if image.overlaps(linear) { return "its image lies within the linear map" }
        let vmemmap = Self.vmemmap.lowerBound >> 30..<Self.vmemmap.upperBound >> 30
        return image.overlaps(vmemmap) ? "its image lies within the vmemmap" : nil
    }

    func mapping(ofPage number: UInt64) -> MappingSize {
        let address = number << 12
        if linearMap.lowerBound.rawValue <= address, address < linearMap.upperBound.rawValue { return linearMapping }
        return Self.vmemmap.contains(address) ? .size2M : .size4K
    }

    /// The frame behind a page that is not the image's.
    func frame(ofPage number: UInt64) -> UInt64 {
        let address = number << 12
        if linearMap.lowerBound.rawValue <= address, address < linearMap.upperBound.rawValue {
            return number - linearMap.lowerBound.rawValue >> 12
        }
        let bits = mapping(ofPage: number).pageBits
        var z = (number >> bits) &* 0x9e37_79b9_7f4a_7c15
        z = (z ^ z >> 32) &* 0xbf58_476d_1ce4_e5b9
        return Self.scattered + ((z >> 40) << bits) + number & ((1 << bits) - 1)
    }

    /// Frames from 32 TB up, which no linear map reaches that kperm knows of.
    private static let scattered: UInt64 = 1 << 33
    /// Where page tables lie: above all else.
    static let tables: UInt64 = 1 << 36
}

/// Why an image cannot be laid out as asked.
public enum LayoutError: Error, Equatable, Sendable, CustomStringConvertible {
    case blocks(VirtualAddress, PhysicalAddress)

    public var description: String {
        switch self {
        case .blocks(let virtual, let physical):
            "\(virtual) at \(physical) cannot be mapped in blocks of 2M: the two addresses differ within one"
        }
    }
}

/// The image's pages: how large they are mapped, and their frames.
public struct Layout: Sendable {
    public let name: String
    /// Of the first page here.
    public let virtualBase: VirtualAddress
    /// Of each page: how much around it is one mapping, as far as the image's frames allow.
    public let mappings: [MappingSize]
    /// Of each page, its number in physical memory.
    public let frames: [UInt64]
    /// Mapped in blocks of 2M.
    public let isInBlocks: Bool

    /// An image in its linear order, mapped in blocks of 2M: what the kernel does by itself.
    public init(
        blocksOf pageCount: Int, virtualBase: VirtualAddress, physicalBase: PhysicalAddress, name: String = "2M"
    ) throws(LayoutError) {
        guard (virtualBase.rawValue ^ physicalBase.rawValue) & (1 << 21 - 1) == 0 else {
            throw .blocks(virtualBase, physicalBase)
        }
        // The first and the last block reach beyond the image.
        let before = virtualBase.rawValue & (1 << 21 - 1)
        let pages = (Int(before >> 12) + pageCount + 511) & ~511
        self.name = name
        self.virtualBase = VirtualAddress(virtualBase.rawValue - before)
        mappings = [MappingSize](repeating: .size2M, count: pages)
        frames = (0..<UInt64(pages)).map { (physicalBase.rawValue - before) >> 12 + $0 }
        isInBlocks = true
    }

    /// An image in a permuted order, mapped in single pages. Where 4 or 16 of them, at a place where a mapping of 16K
    /// or 64K may begin, have frames in a row that may form one, too, hardware can take them as one.
    ///
    /// - Parameter forward: the frame of each page, counted from the image's first.
    public init(
        name: String, forward: [UInt32], virtualBase: VirtualAddress, physicalBase: PhysicalAddress
    ) {
        self.name = name
        self.virtualBase = virtualBase
        isInBlocks = false
        let frames = forward.map { physicalBase.rawValue >> 12 + UInt64($0) }
        var mappings = [MappingSize](repeating: .size4K, count: frames.count)
        let base = Int(truncatingIfNeeded: virtualBase.rawValue >> 12)
        for size in [MappingSize.size16K, .size64K] {
            let pages = 1 << Int(size.pageBits)
            var first = (pages - base & (pages - 1)) & (pages - 1)
            while first + pages <= frames.count {
                let isRun =
                    frames[first] & UInt64(pages - 1) == 0
                    && (1..<pages).allSatisfy { frames[first + $0] == frames[first] + UInt64($0) }
                if isRun { for page in first..<first + pages { mappings[page] = size } }
                first += pages
            }
        }
        self.frames = frames
        self.mappings = mappings
    }

    public var pageCount: Int { frames.count }
}
