// SPDX-License-Identifier: MIT

// Which bytes go with an address of data. A symbol's size says it; where a kernel
// lists functions only, a bound must do: an object that is known to be at most so
// large lies within that distance on either side, and leaves no section.

import Addressing
import KernelImage

/// What an address of data stands for.
struct DataObjects: Sendable {
    private let index: AddressIndex
    /// The sections of data of a kernel that lists functions only.
    private let unnamed: [Range<VirtualAddress>]
    private let largest: UInt64
    private let largestArray: UInt64
    private let largestStack: UInt64

    init(
        _ index: AddressIndex, _ table: SymbolTable, _ image: borrowing KernelImage, largest: UInt64,
        largestArray: UInt64, largestStack: UInt64
    ) {
        self.index = index
        self.largest = largest
        self.largestArray = largestArray
        self.largestStack = largestStack
        unnamed =
            table.listsFunctionsOnly
            ? image.sections.filter { $0.isAllocated && !$0.isExecutable && $0.size > 0 }.map { $0.address..<$0.end }
            : []
    }

    /// Whether bounds do where the kernel names no data.
    var isBounded: Bool { !unnamed.isEmpty }

    /// The object that covers an address, or all that an object without a name there may take.
    func object(at address: VirtualAddress) -> Range<VirtualAddress>? {
        named(at: address) ?? bound(address, before: largest - 1, behind: largest)
    }

    /// The same for what is indexed from an address on.
    func array(at address: VirtualAddress) -> Range<VirtualAddress>? {
        named(at: address) ?? bound(address, before: largest - 1, behind: largestArray)
    }

    /// The stack that ends at an address.
    func stack(below end: VirtualAddress) -> Range<VirtualAddress>? {
        let inside = end + UInt64.max
        return named(at: inside) ?? bound(inside, before: largestStack, behind: 1)
    }

    private func named(at address: VirtualAddress) -> Range<VirtualAddress>? {
        index.covering(address).first { $0.size > 0 && $0.kind == .object }.map { $0.value..<$0.end }
    }

    private func bound(_ address: VirtualAddress, before: UInt64, behind: UInt64) -> Range<VirtualAddress>? {
        guard let section = unnamed.first(where: { $0.contains(address) }) else { return nil }
        let first = address - section.lowerBound > before ? address + (0 &- before) : section.lowerBound
        return first..<min(address + behind, section.upperBound)
    }
}
