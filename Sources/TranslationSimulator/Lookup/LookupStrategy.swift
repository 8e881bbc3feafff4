// SPDX-License-Identifier: MIT

// What a kernel could do where `virt_to_phys` stands today. Each way is a small
// struct over bytes of its own; all answer the same question, and outside the
// image all answer as today's kernel does, linearly. They are structs without a
// copy and without a class, so that code that is generic over them compiles to
// the few instructions that a kernel would have.

public import Addressing
public import PagePermutation

/// A way to translate addresses of an image, and of any other memory linearly.
public protocol LookupStrategy: ~Copyable {
    /// What it is called where it is compared with others.
    var name: String { get }

    /// The bytes that it keeps besides the image's two base addresses and the number of pages.
    var tableBytes: Int { get }

    /// How many cache lines of 64 bytes one lookup of an address of the image reads at most, the one with the base
    /// addresses included.
    var cacheLines: Int { get }

    /// What of it depends on the order of the pages, and why; nil if nothing does, since every page has its entry.
    var orderDependence: String? { get }

    /// Where the bytes that it keeps lie.
    var memory: UnsafeRawBufferPointer { get }

    /// The physical address behind a virtual address: `virt_to_phys`.
    func physicalAddress(of address: VirtualAddress) -> PhysicalAddress

    /// The virtual address of the image that shows a physical address: `phys_to_virt`.
    func virtualAddress(of address: PhysicalAddress) -> VirtualAddress
}

extension LookupStrategy where Self: ~Copyable {
    public var orderDependence: String? { nil }
}

/// A strategy that knows pages and frames by number.
public protocol PageLookup: LookupStrategy, ~Copyable {
    var place: ImagePlace { get }

    /// The frame of a page of the image.
    func frame(of page: UInt64) -> UInt64

    /// The page in a frame of the image.
    func page(in frame: UInt64) -> UInt64
}

extension PageLookup where Self: ~Copyable {
    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        let offset = address.rawValue &- place.virtualBase
        guard offset >> 12 < place.pages else { return PhysicalAddress(place.physicalBase &+ offset) }
        return PhysicalAddress(place.physicalBase &+ frame(of: offset >> 12) << 12 &+ offset & 0xfff)
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        let offset = address.rawValue &- place.physicalBase
        guard offset >> 12 < place.pages else { return VirtualAddress(place.virtualBase &+ offset) }
        return VirtualAddress(place.virtualBase &+ page(in: offset >> 12) << 12 &+ offset & 0xfff)
    }
}

/// Where an image lies: what every strategy has at hand.
public struct ImagePlace: Sendable {
    public let virtualBase: UInt64
    public let physicalBase: UInt64
    public let pages: UInt64

    public init(_ table: TranslationTable) {
        virtualBase = table.virtualBase.rawValue
        physicalBase = table.physicalBase.rawValue
        pages = UInt64(table.pageCount)
    }
}

/// Why a strategy cannot hold a table.
public enum LookupError: Error, Equatable, Sendable {
    case tooManyPages(Int, limit: Int)
    case notWholePages
    case addressTooHigh(PhysicalAddress)
}

extension LookupError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .tooManyPages(let pages, let limit): "\(pages) pages, and this table holds \(limit) at most"
        case .notWholePages: "a page table translates whole pages, and this table begins within one"
        case .addressTooHigh(let address): "\(address) does not fit into the entry of a page table"
        }
    }
}
