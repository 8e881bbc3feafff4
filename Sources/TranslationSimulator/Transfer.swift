// SPDX-License-Identifier: MIT

// A transfer as a driver asks for it: a virtual address, a length, a direction.
// It is never empty and never leaves the address space, so that nobody who gets
// one has to look again.

public import Addressing

/// Memory that a device is to read or write.
public struct Transfer: Equatable, Sendable {
    /// What the device does, as seen from memory.
    public enum Direction: String, Sendable, Codable, CaseIterable {
        /// To the device: it reads memory.
        case to
        /// From the device: it writes memory.
        case from
        case both
    }

    /// The first byte.
    public let address: VirtualAddress
    /// In bytes, at least 1.
    public let byteCount: UInt64
    public let direction: Direction

    /// Nil when it is empty or does not end within the address space.
    public init?(address: VirtualAddress, byteCount: UInt64, direction: Direction) {
        guard byteCount > 0, byteCount - 1 <= UInt64.max - address.rawValue else { return nil }
        self.address = address
        self.byteCount = byteCount
        self.direction = direction
    }

    /// The address of the last byte.
    public var last: VirtualAddress { address + (byteCount - 1) }
}
