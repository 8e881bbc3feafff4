// SPDX-License-Identifier: MIT

// What the rest of kperm knows of an image, in the words of one who looks at
// a running guest from outside: no ELF and no rewrite plan here.

public import Addressing
public import PagePermutation

/// What a page of the image is, and so what is demanded of it. Just after the stub every page but an `unmapped` one
/// must be in the table's frame with the expected bytes; at userspace each kind has its own demand.
public enum PageKind: String, Codable, Sendable {
    /// At userspace: mapped as the table says, the same bytes but for patch sites, never writable.
    case text
    /// At userspace: as text, and not executable.
    case rodata
    /// At userspace: mapped as the table says, not executable.
    case data
    /// At userspace: as data.
    case bss
    /// Freed by the kernel once it runs: no demand at userspace.
    case initMemory
    /// No demand at userspace: early heap, per-CPU data, scratch space.
    case other
    /// No demand at all: a gap.
    case unmapped
}

/// Who prints the exercise's lines.
public enum Userspace: Equatable, Sendable {
    /// Linux: an initramfs made by us. The release names the modules that fit (`6.1.0-56-cloud-amd64`).
    case linux(release: String?)
    /// Linux of a machine that busybox is not for: with an initramfs of the caller's, whose first program prints the lines
    /// and, as the command line has `kperm_hold`, waits after the last; nil for a program of ours that does nothing else.
    case given(initramfs: String?)
    /// The kernel itself prints the lines; it gets no initramfs, no disk and no network.
    case selfChecking
}

/// How it is known where the kernel lies, and in which order.
public enum GuestPlacement: Sendable {
    /// It is known beforehand: the expectation's own table.
    case fixed
    /// The kernel draws its order while it starts, or at least may lie anywhere, and has a boot area: the stub's live
    /// table says all. The closure makes the expectation for that table, with addresses slid to its bases and contents
    /// relocated; its placement does not matter. Where the kernel ended up unpermuted, the table is the identity at the
    /// bases found at userspace.
    case live(@Sendable (TranslationTable) -> GuestExpectation)
    /// The kernel lies where it was linked to lie, and a descriptor in its memory says in which order. Of the
    /// expectation's own table only the virtual base is used.
    case described(DescribedOrder)
    /// A kernel without kperm that may lie anywhere: its bases are found at userspace in the page tables, and the
    /// closure makes the expectation for the identity there. There is no look before userspace.
    case searched(@Sendable (TranslationTable) -> GuestExpectation)
}

/// What kperm knows about the image, for the comparison.
public struct GuestExpectation: Sendable {
    /// The ELF or bzImage to boot.
    public var kernelPath: String
    /// The identity for a stock kernel.
    public var table: TranslationTable
    /// The kernel's own root table (`init_top_pgt`), which tells the user half of a page-table-isolation pair.
    public var topLevelPageTable: PhysicalAddress?
    /// The first instruction after the stub (`x86_64_start_kernel`): the place of the first look.
    public var stubEnd: VirtualAddress
    /// One a page of the image: as many as the table has.
    public var pages: [PageKind]
    /// The 4096 bytes a page was loaded with.
    public var contents: @Sendable (Page) -> [UInt8]
    /// Bytes that early code or the stub may have changed by the first look; ascending, not overlapping.
    public var mayDifferAtStub: [Range<VirtualAddress>]
    /// Bytes of text and rodata that the kernel itself changes later; ascending, not overlapping.
    public var patchSites: [Range<VirtualAddress>]
    public var userspace: Userspace
    /// Whether the kernel write-protects itself, so that the checks `rights` and `aliases` make sense.
    public var protectsItself: Bool
    /// Where it is not `fixed`, only `kernelPath`, `userspace`, `expectsUnpermuted` and the count of `pages` are used
    /// of this expectation, and all else is the derived one's.
    public var placement: GuestPlacement
    /// With `live` and `described`: the kernel must report that it did not permute (`kperm=off` on the command line).
    public var expectsUnpermuted: Bool
    /// What a kernel that is instrumented leaves in its memory: kept as `GuestResult.notes` when the exercise is over.
    public var notes: Range<VirtualAddress>?
    public var machine: GuestMachine
    /// With `fixed`: the rights that the kernel must give as the one that it was made of did; nil for no such demand.
    public var originalRights: PageRights?
    /// How many levels its page tables must have; nil for any number.
    var demandedLevels: Int?
    /// With `live`: what a seed that nobody gave must have been made of, among others.
    var demandedSources: BootArea.Sources = []

    public init(
        kernelPath: String, table: TranslationTable, topLevelPageTable: PhysicalAddress? = nil,
        stubEnd: VirtualAddress, pages: [PageKind], contents: @escaping @Sendable (Page) -> [UInt8],
        mayDifferAtStub: [Range<VirtualAddress>] = [], patchSites: [Range<VirtualAddress>] = [],
        userspace: Userspace, protectsItself: Bool = true, placement: GuestPlacement = .fixed,
        expectsUnpermuted: Bool = false, machine: GuestMachine = .pc
    ) {
        self.kernelPath = kernelPath
        self.table = table
        self.topLevelPageTable = topLevelPageTable
        self.stubEnd = stubEnd
        self.pages = pages
        self.contents = contents
        self.mayDifferAtStub = mayDifferAtStub
        self.patchSites = patchSites
        self.userspace = userspace
        self.protectsItself = protectsItself
        self.placement = placement
        self.expectsUnpermuted = expectsUnpermuted
        self.machine = machine
    }
}
