// SPDX-License-Identifier: MIT

// How many places Linux's own randomization has for an image: x86-64 draws a
// physical and a virtual address apart, each a multiple of the kernel's alignment
// (arch/x86/boot/compressed/kaslr.c).

/// The slots that KASLR has for an image.
public struct KASLRSlots: Codable, Equatable, Sendable {
    /// Bytes of memory in one piece from `lowest` on, as much as a machine has.
    public let memory: UInt64
    /// Bytes between slots.
    public let alignment: UInt64
    public let physical: Int
    public let virtual: Int

    /// x86-64: the virtual slots lie in the first GiB above -2 GiB (KERNEL_IMAGE_SIZE).
    private static let virtualSize: UInt64 = 1 << 30

    /// - Parameters:
    ///   - imageSize: bytes that the image takes in memory, tables behind it included.
    ///   - lowest: the first address at which an image may be loaded, physical, and offset of the first virtual one.
    ///   - alignment: a power of two, not 0.
    ///   - memory: bytes of RAM from address 0 on, in one piece.
    public init(imageSize: UInt64, lowest: UInt64, alignment: UInt64, memory: UInt64) {
        self.memory = memory
        self.alignment = alignment
        func slots(_ end: UInt64) -> Int {
            let first = (lowest + alignment - 1) / alignment * alignment
            guard end >= first, end - first >= imageSize else { return 0 }
            return Int((end - first - imageSize) / alignment) + 1
        }
        physical = slots(memory)
        virtual = slots(Self.virtualSize)
    }

    public var physicalBits: Double { physical > 1 ? Double(physical).log2.rounded6 : 0 }
}
