// SPDX-License-Identifier: MIT

// What an audit found out about the translations of a kernel, as a plan needs it:
// which can ask a table, which cannot, and which of the physical addresses that
// stand in the code come to nothing but to those that ask.

public import Addressing

/// The translations of a kernel whose code shall ask a table.
public struct Translations: Sendable {
    /// Those that can ask.
    public let rewritable: [ObservedSite]
    /// Where code names a page by its physical address (`KernelAnalysis.namedPlaces`), and the sites that are all that
    /// comes of it.
    public let askers: [VirtualAddress: Set<VirtualAddress>]
    /// Addresses of the image that sites translate, where it is known which.
    public let constants: [VirtualAddress: [VirtualAddress]]
    /// Sites that cannot ask, and of which it is not known that they translate nothing that moves.
    public let left: [VirtualAddress]
    /// Where the kernel goes by ranges of frames, for pages that cross classes; nil where they do not.
    public var frameTests: FrameTests?

    public init(
        rewritable: [ObservedSite], askers: [VirtualAddress: Set<VirtualAddress>] = [:],
        constants: [VirtualAddress: [VirtualAddress]] = [:], left: [VirtualAddress] = []
    ) {
        self.rewritable = rewritable
        self.askers = askers
        self.constants = constants
        self.left = left
    }
}
