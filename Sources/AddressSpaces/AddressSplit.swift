// SPDX-License-Identifier: MIT

// A 32-bit address space: 4096 MB for user space, the linear map and vmalloc. RAM
// that the linear map cannot hold is highmem. A kernel that is mapped in vmalloc,
// so that its pages can be anywhere, is still in the linear map as well: what it
// takes is taken twice. The way out that was proposed gives all but vmalloc to
// either user space or the linear map, with the kernel in vmalloc, and switches
// between both at every entry.

/// Why a split cannot be.
public struct SplitError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
}

/// How a 32-bit address space is divided; all sizes in bytes.
public struct AddressSplit: Equatable, Sendable {
    public static let spaceBytes: UInt64 = 1 << 32
    /// A page table of 32-bit kernels shows 1 MB (ARM) to 4 MB (x86, RISC-V) an entry of the first level.
    public static let granuleBytes: UInt64 = 1 << 20

    public let user: UInt64
    public let linear: UInt64
    public let vmalloc: UInt64
    /// Whether user space and the linear map take turns at the same addresses.
    public let isSwitched: Bool
    public let kernel: UInt64

    /// User space, linear map and vmalloc side by side.
    ///
    /// - Throws: `SplitError` when the parts do not make up 4096 MB, or the kernel does not fit.
    public init(user: UInt64, linear: UInt64, vmalloc: UInt64, kernel: UInt64) throws(SplitError) {
        try self.init(user, linear, vmalloc, kernel, isSwitched: false)
    }

    /// `either` for user space or for the linear map, by turns, beside vmalloc.
    ///
    /// - Throws: `SplitError` when the parts do not make up 4096 MB, or the kernel does not fit.
    public init(either: UInt64, vmalloc: UInt64, kernel: UInt64) throws(SplitError) {
        try self.init(either, either, vmalloc, kernel, isSwitched: true)
    }

    private init(
        _ user: UInt64, _ linear: UInt64, _ vmalloc: UInt64, _ kernel: UInt64, isSwitched: Bool
    ) throws(SplitError) {
        for (name, part) in [("user space", user), ("the linear map", linear), ("vmalloc", vmalloc)] {
            guard part > 0 else { throw SplitError(description: "\(name) has no addresses: every part needs some") }
            guard part < Self.spaceBytes else {
                throw SplitError(
                    description: "\(bytesText(part)) for \(name) leave nothing of 4096 MB for the other parts")
            }
            guard part % Self.granuleBytes == 0 else {
                throw SplitError(description: "\(name) has \(bytesText(part)): parts are whole megabytes")
            }
        }
        let sum = isSwitched ? user + vmalloc : user + linear + vmalloc
        let parts = (isSwitched ? [user, vmalloc] : [user, linear, vmalloc]).map { "\($0 >> 20)" }
        guard sum == Self.spaceBytes else {
            let difference =
                sum > Self.spaceBytes
                ? "they overlap by \((sum - Self.spaceBytes) >> 20) MB"
                : "\((Self.spaceBytes - sum) >> 20) MB belong to no part"
            throw SplitError(
                description: "\(parts.joined(separator: " + ")) MB are \(sum >> 20) MB, not 4096: \(difference)")
        }
        guard kernel > 0 else { throw SplitError(description: "a kernel of no bytes") }
        guard kernel < vmalloc else {
            throw SplitError(
                description: "a kernel of \(bytesText(kernel)) leaves nothing of vmalloc's \(bytesText(vmalloc))")
        }
        guard kernel < linear else {
            throw SplitError(
                description: "a kernel of \(bytesText(kernel)) does not fit into a linear map of \(bytesText(linear))")
        }
        (self.user, self.linear, self.vmalloc, self.kernel) = (user, linear, vmalloc, kernel)
        self.isSwitched = isSwitched
    }

    /// Addresses that show what another address shows, too: the kernel's, in vmalloc. In percent of all addresses.
    public var wastedOfSpace: Double { 100 * Double(kernel) / Double(Self.spaceBytes) }

    /// What the kernel takes of vmalloc, in percent.
    public var wastedOfVmalloc: Double { 100 * Double(kernel) / Double(vmalloc) }

    /// What is left for `vmalloc` and `ioremap`.
    public var vmallocLeft: UInt64 { vmalloc - kernel }

    /// RAM that is always mapped.
    public func lowmem(ram: UInt64) -> UInt64 { min(ram, linear) }

    /// RAM that has to be mapped before it is used.
    public func highmem(ram: UInt64) -> UInt64 { ram - lowmem(ram: ram) }

    /// Where the parts lie, by first address. Where both take turns, they have the same range.
    public var regions: [Region] {
        let kernelEnd = isSwitched ? user : user + linear
        return [
            Region(.user, 0...user - 1), Region(.linear, isSwitched ? 0...linear - 1 : user...user + linear - 1),
            Region(.vmalloc, kernelEnd...Self.spaceBytes - 1),
            Region(.kernel, kernelEnd...kernelEnd + kernel - 1, inside: .vmalloc),
        ]
    }
}

/// What it costs to have user space and the linear map take turns.
public struct SwitchCost: Sendable {
    /// Cycles of one switch of page tables.
    public var cyclesPerSwitch: Double
    /// Cycles that entries of the TLB cost which a switch drops; none where they carry an address-space number.
    public var refillCycles: Double
    /// How many times the kernel reads or writes user memory between entry and exit, each there and back.
    public var userCopies: Double
    public var entriesPerSecond: Double
    public var cyclesPerSecond: Double

    /// Where the usual `cyclesPerSwitch` comes from: the nearest thing that is done today, at as many places.
    public static let source =
        "Documentation/x86/pti.rst (Linux 6.1): a move to CR3 takes on the order of a hundred cycles, at every entry "
        + "and exit"
    public static let usualCycles = 100.0

    public init(
        cyclesPerSwitch: Double = Self.usualCycles, refillCycles: Double = 0, userCopies: Double = 1,
        entriesPerSecond: Double = 100_000, cyclesPerSecond: Double = 1e9
    ) {
        self.cyclesPerSwitch = cyclesPerSwitch
        self.refillCycles = refillCycles
        self.userCopies = userCopies
        self.entriesPerSecond = entriesPerSecond
        self.cyclesPerSecond = cyclesPerSecond
    }

    /// In and out, and to user space and back for every copy.
    public var switchesPerEntry: Double { 2 * (1 + userCopies) }

    public var cyclesPerEntry: Double { switchesPerEntry * (cyclesPerSwitch + refillCycles) }

    /// Of one processor's time, in percent.
    public var percentOfTime: Double { 100 * cyclesPerEntry * entriesPerSecond / cyclesPerSecond }
}
