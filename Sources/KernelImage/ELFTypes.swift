// SPDX-License-Identifier: MIT

// The parts of an ELF file as plain values, the same for 32 and 64 bits and for
// both byte orders.

public import Addressing

/// What the ELF header says.
public struct ELFHeader: Equatable, Sendable {
    public let is64Bit: Bool
    public let isLittleEndian: Bool
    /// ET_EXEC, ET_DYN …
    public let type: UInt16
    /// EM_X86_64, EM_AARCH64 …
    public let machine: UInt16
    public let entry: UInt64
    public let programHeaderOffset: UInt64
    public let programHeaderCount: Int
    public let sectionHeaderOffset: UInt64
    public let sectionCount: Int
}

/// A program header.
public struct Segment: Equatable, Sendable {
    public static let load: UInt32 = 1
    public static let note: UInt32 = 4

    public var type: UInt32
    public var flags: UInt32
    /// In the file, in bytes.
    public var offset: UInt64
    public var virtualAddress: VirtualAddress
    public var physicalAddress: PhysicalAddress
    /// Bytes in the file and in memory; what the file lacks is zero.
    public var fileSize: UInt64
    public var memorySize: UInt64
    public var alignment: UInt64

    public init(
        type: UInt32, flags: UInt32, offset: UInt64, virtualAddress: VirtualAddress, physicalAddress: PhysicalAddress,
        fileSize: UInt64, memorySize: UInt64, alignment: UInt64
    ) {
        self.type = type
        self.flags = flags
        self.offset = offset
        self.virtualAddress = virtualAddress
        self.physicalAddress = physicalAddress
        self.fileSize = fileSize
        self.memorySize = memorySize
        self.alignment = alignment
    }

    /// Itself, or, where it is loaded to the middle of a page, what is in that page, and the rest.
    public var pagePieces: [Segment] {
        let room = UInt64(pageSize - physicalAddress.offsetInPage)
        guard type == Segment.load, physicalAddress.offsetInPage != 0, memorySize > room else { return [self] }
        var (head, rest) = (self, self)
        head.memorySize = room
        head.fileSize = min(fileSize, room)
        rest.memorySize -= room
        rest.fileSize -= head.fileSize
        rest.offset += rest.fileSize > 0 ? room : 0
        rest.virtualAddress = virtualAddress + room
        rest.physicalAddress = physicalAddress + room
        return [head, rest]
    }
}

/// A section header.
public struct Section: Equatable, Sendable {
    public let index: Int
    public let name: String
    public let type: UInt32
    public let flags: UInt64
    public let address: VirtualAddress
    public let offset: UInt64
    public let size: UInt64
    public let link: Int
    public let info: Int

    /// Takes memory when the kernel runs.
    public var isAllocated: Bool { flags & 2 != 0 }
    public var isExecutable: Bool { flags & 4 != 0 }
    /// Has no bytes in the file.
    public var isNoBits: Bool { type == 8 }
    public var end: VirtualAddress { address + size }
}

/// A symbol; its name is looked up on demand, because a kernel has a hundred thousand of them.
public struct Symbol: Equatable, Sendable {
    public enum Kind: UInt8, Sendable {
        case none = 0
        case object, function, section, file
        case other = 255
    }

    public let value: VirtualAddress
    let byteCount: UInt32
    let nameOffset: UInt32
    /// Its place in the table.
    public let index: UInt32
    /// Section index (SHN_ABS and SHN_UNDEF included).
    public let section: UInt16
    public let kind: Kind

    /// In bytes.
    public var size: UInt64 { UInt64(byteCount) }
    public var end: VirtualAddress {
        let (end, overflow) = value.rawValue.addingReportingOverflow(size)
        return VirtualAddress(overflow ? .max : end)
    }

    /// The same symbol somewhere else, as when a relocatable object gets addresses.
    public func moved(to value: VirtualAddress) -> Symbol {
        Symbol(
            value: value, byteCount: byteCount, nameOffset: nameOffset, index: index, section: section, kind: kind)
    }
}

/// A relocation of an allocated section.
public struct Relocation: Equatable, Sendable {
    /// The section with the field.
    public let section: Int
    /// The address of the field; in a relocatable object its place in the section.
    public let address: VirtualAddress
    public let type: UInt32
    public let symbol: Int
    public let addend: Int64
}

/// A note: owner, type and where its description lies in the file.
public struct Note: Equatable, Sendable {
    public let owner: String
    public let type: UInt32
    public let descriptor: Range<Int>
}
