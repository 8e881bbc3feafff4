// SPDX-License-Identifier: MIT

// How many places Linux's own randomization has for an image: x86-64 draws a
// physical and a virtual address apart, each a multiple of the kernel's alignment
// (arch/x86/boot/compressed/kaslr.c). The running kernel then draws where its linear
// map begins (arch/x86/mm/kaslr.c).

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

    /// Places of the linear map of x86-64 kernels that draw one (CONFIG_RANDOMIZE_MEMORY), with four levels of page tables
    /// and the default padding for memory that is plugged in later: linear map, vmalloc and vmemmap share what is left of
    /// their part of the address space, the first of them takes up to a third of that, in steps of a GiB.
    public static func linearMap(memory: UInt64) -> Int {
        let tebibyte: UInt64 = 1 << 40
        let (first, end): (UInt64, UInt64) = (0xffff_8880_0000_0000, 0xffff_fe00_0000_0000)
        let (padding, vmalloc): (UInt64, UInt64) = (10, 32)
        let linear = min((memory + tebibyte - 1) / tebibyte + padding, 64)
        // 64 bytes of vmemmap describe a page.
        let taken = (linear + vmalloc + (linear + 63) / 64) * tebibyte
        return Int(((end - first - taken) / 3) >> 30) + 1
    }

    /// Bits of an address in the linear map at which a given byte of the image lies, where both are drawn.
    ///
    /// - Parameters:
    ///   - physicalBits: min-entropy of the byte's physical address.
    ///   - linearMap: places of the linear map, a GiB apart; 1 where it is known.
    public func linearBits(physicalBits: Double, linearMap: Int) -> Double {
        // The same address may come of another place of the map, the image so many GiB lower.
        let together = min((UInt64(max(physical, 1)) * alignment + 1 << 30 - 1) >> 30, UInt64(linearMap))
        return physicalBits + (Double(linearMap) / Double(together)).log2
    }

    public var physicalBits: Double { physical > 1 ? Double(physical).log2.rounded6 : 0 }
}
