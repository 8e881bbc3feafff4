// SPDX-License-Identifier: MIT

// What a flat riscv64 kernel says of the order of its pages: a descriptor at the
// start of a page, and two tables of differences in bytes. It is the same in the
// file and in a running kernel's memory; images/riscv64/linux/kperm/descriptor.h
// states the layout.

public import Addressing

/// A descriptor, with what may differ from boot to boot.
public struct ImageDescriptor: Equatable, Sendable {
    /// What the kernel did about its pages when it started.
    public enum State: UInt32, Sendable {
        case notAsked = 0
        case permuted = 1
        case switchedOff = 2
        case refused = 3
    }

    /// "kperm\0rv" as a little-endian number.
    public static let magic: UInt64 = 0x7672_006d_7265_706b
    public static let version = 1
    /// Its size in bytes.
    public static let byteCount = 0x78

    /// Where it lies, in bytes from the image's start.
    public let place: Int
    /// Of the image in memory, in bytes.
    public let imageBytes: Int
    /// Entries of each table.
    public let capacity: Int
    /// Where the tables lie, in bytes from the image's start.
    public let forwardTable: Int
    public let inverseTable: Int
    /// Pages whose frame differs.
    public let movedCount: Int
    /// What the seed was made of, a bit each.
    public let sources: UInt32
    /// nil for one that this does not know.
    public let state: State?
    /// Address of the image's start; zero in the file.
    public let physicalBase: PhysicalAddress
    public let virtualBase: VirtualAddress

    public var pageCount: Int { (imageBytes + pageSize - 1) / pageSize }

    /// - Parameter bytes: from where it lies.
    /// - Returns: nil for bytes that are none.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.byteCount, bytes.number(0) | bytes.number(4) << 32 == Self.magic,
            bytes.number(8) == UInt64(Self.version)
        else { return nil }
        func field(_ at: Int) -> Int { Int(bytes.number(at)) }
        place = field(0x10)
        imageBytes = field(0x14)
        capacity = field(0x20)
        forwardTable = field(0x24)
        inverseTable = field(0x28)
        movedCount = field(0x44)
        sources = UInt32(bytes.number(0x48))
        state = State(rawValue: UInt32(bytes.number(0x4c)))
        physicalBase = PhysicalAddress(bytes.number(0x50) | bytes.number(0x54) << 32)
        virtualBase = VirtualAddress(bytes.number(0x58) | bytes.number(0x5c) << 32)
        guard place % pageSize == 0, place < imageBytes, pageCount < capacity, capacity <= 1 << 20 else { return nil }
    }

    /// The frame of each page.
    ///
    /// - Parameters:
    ///   - forward: the bytes of the table of pages; `capacity` words, like the other.
    ///   - inverse: those of the table of frames.
    /// - Throws: `TableError.notABijection` where they do not lead to a frame and back, or say something of what lies
    ///   behind the image.
    public func order(forward: [UInt8], inverse: [UInt8]) throws(TableError) -> [UInt32] {
        guard forward.count >= 4 * capacity, inverse.count >= 4 * capacity else { throw .notATable }
        func target(_ table: [UInt8], _ from: Int) -> Int? {
            let difference = Int(Int32(truncatingIfNeeded: table.number(4 * from)))
            let to = from + difference / pageSize
            return difference % pageSize == 0 && (0..<pageCount).contains(to) ? to : nil
        }
        var frames: [UInt32] = []
        for page in 0..<capacity {
            if page >= pageCount {
                guard forward.number(4 * page) == 0, inverse.number(4 * page) == 0 else {
                    throw .notABijection(page: page)
                }
            } else if let frame = target(forward, page), target(inverse, frame) == page {
                frames.append(UInt32(frame))
            } else {
                throw .notABijection(page: page)
            }
        }
        return frames
    }
}

extension [UInt8] {
    /// A 32-bit number, little-endian.
    fileprivate func number(_ offset: Int) -> UInt64 {
        (0..<4).reduce(0) { $0 | UInt64(self[offset + $1]) << UInt64(8 * $1) }
    }
}
