// SPDX-License-Identifier: MIT

// What kperm learns of a kernel before it draws anything: its pages, which may
// trade places, which must stay and why, and the places where the kernel itself
// has to change. An architecture fills this value; everything after it is
// common code.

public import Addressing
public import KernelImage
public import PagePermutation

/// Pages that no percentage counts, because they stay by nature.
public struct Exclusion: Equatable, Sendable {
    public let pages: Range<Int>
    public let reason: String
}

/// Bytes that change, in the original file, and why.
public struct Change: Equatable, Sendable {
    /// In the original file, in bytes.
    public let fileOffset: Int
    /// Where the kernel sees them; nil for bytes of the file that are not loaded.
    public let address: VirtualAddress?
    public let before: [UInt8]
    public internal(set) var after: [UInt8]
    public let reason: String
    /// The symbol or instruction that shows it.
    public let evidence: String
}

/// What an architecture found out about a kernel.
public struct KernelAnalysis: Sendable {
    public let architecture: Architecture
    /// From the kernel's banner ("6.1.0-50-cloud-amd64"); nil when it has none.
    public let release: String?
    /// Behind the compiler in the banner ("#1 SMP Debian 6.1.192-2 (2026-01-01)"); nil when there is none.
    public let build: String?
    public let map: PageMap
    public let classes: [PageClass]
    public let exclusions: [Exclusion]
    public internal(set) var pins: [Pin]
    /// Who uses the frames of pinned pages as if they were linear.
    var grounds: [Ground] = []
    /// Pins that went because all users of their pages ask a table.
    public internal(set) var released: [ReleasedPin] = []
    /// Why none did, where translations ask a table and it is not known what the others may reach.
    public internal(set) var whyNoneReleased: String?
    /// Those of the pins that only code shows which computes physical addresses.
    let translated: Set<Pin>
    /// Notes on what was looked at: sources of pins, code followed.
    public let remarks: [String]
    /// The instruction right after the stub: where everything must already be in place.
    public let stubEnd: VirtualAddress
    /// Physical address of the kernel's own root page table, where every page table of its leads there by the last entry.
    public let rootTable: PhysicalAddress?
    /// Functions that run before the kernel's own mapping is live.
    let earlyFunctions: Set<VirtualAddress>
    /// Functions that early code calls through the kernel's mapping.
    let handedOver: [VirtualAddress]
    /// What the kernel's start writes, where following it said so.
    var written: [Range<VirtualAddress>] = []
    let symbols: KernelSymbols
    public let index: AddressIndex
    let data: DataObjects

    /// Pages that percentages are of.
    public var countedPages: Int { classes.reduce(0) { $0 + $1.pageCount } }

    /// Counted pages that are pinned.
    public var pinnedPages: Int {
        var counted = [Bool](repeating: false, count: map.pageCount)
        for pageClass in classes { for range in pageClass.ranges { for page in range { counted[page] = true } } }
        var pinned = 0
        for pin in pins {
            for page in pin.pages where counted[page] {
                counted[page] = false
                pinned += 1
            }
        }
        return pinned
    }
}

/// What kperm must know of a processor architecture: how to read a kernel built for it, and what to
/// change in it. Common code receives this value and never asks which architecture it is.
public struct Architecture: Sendable {
    public let name: String
    /// ELF machine number.
    let machine: UInt16
    /// Reads a kernel, or refuses it.
    let analyse: @Sendable (borrowing KernelImage) throws(RewriteError) -> KernelAnalysis
    /// The memory behind the image and the changes in it, for one permutation.
    let bake:
        @Sendable (
            KernelAnalysis, borrowing KernelImage, TranslationTable, _ seedSource: String, Instrumentation?
        ) throws(RewriteError) -> Baked
    /// The changes that let a kernel permute itself while it starts: from a seed, or from one it gathers.
    let plant:
        @Sendable (
            KernelAnalysis, borrowing KernelImage, PermutationProblem, _ seed: [UInt8]?, _ manifest: [UInt8],
            Instrumentation?, Rewriting?
        ) throws(RewriteError) -> Planted
    /// The changes that have a kernel note what it translates. What KASLR relocates, if it does, is left as it is.
    let instrument:
        @Sendable (KernelAnalysis, borrowing KernelImage, [ObservedSite], KASLRRelocations?)
            throws(RewriteError) -> Instrumentation
    /// The changes that have translations ask a table of an order, and note what comes out, with what is translated at
    /// other sites, for an audit. What KASLR relocates, if it does, is left as it is.
    let rewrite:
        @Sendable (
            KernelAnalysis, borrowing KernelImage, [ObservedSite], _ noting: [ObservedSite]?, KASLRRelocations?,
            TranslationTable, FrameTests?
        ) throws(RewriteError) -> Rewriting
    /// What holds of a kernel in which such translations ask the table.
    var release: @Sendable (KernelAnalysis, borrowing KernelImage, Rewriting, Translations) -> KernelAnalysis = {
        analysis, _, _, _ in analysis
    }
    /// What a kernel says that permutes itself; nil for any other kernel.
    let readArea: @Sendable (borrowing KernelImage) throws(RewriteError) -> AreaNotes?
    /// The frame behind a page of a permuted image, as the running kernel will read it: through the
    /// page tables in the image, given physical memory as a loader lays it down from the file.
    let walk: @Sendable (KernelAnalysis, VirtualAddress, PhysicalMemory, RawSpan) -> PhysicalAddress?
    /// Bytes of text and rodata that the running kernel itself patches.
    let patchSites: @Sendable (KernelAnalysis, borrowing KernelImage) -> [Range<VirtualAddress>]
    /// Bytes that the kernel may have written by the end of the stub.
    let startWrites: @Sendable (KernelAnalysis, borrowing KernelImage) -> [Range<VirtualAddress>]
    /// Names of the classes whose pages may trade places across them where the kernel asks what lies in a frame.
    var crossing: [String] = []
    var is64Bit = true
    /// Whether a permuted kernel runs; if not, its pages are moved and nothing else.
    public var isBootable = true

    public static let all: [Architecture] = [.x86, .riscv64, .arm32, .riscv32]

    /// Whether a permuted kernel of an image's architecture runs.
    ///
    /// - Throws: `RewriteError.unsupported` when kperm does not know the architecture.
    public static func isBootable(_ image: borrowing KernelImage) throws(RewriteError) -> Bool {
        try of(image).isBootable
    }

    /// The architecture of an image.
    ///
    /// - Throws: `RewriteError.unsupported` when kperm does not know it.
    static func of(_ image: borrowing KernelImage) throws(RewriteError) -> Architecture {
        let header = image.header
        guard let found = all.first(where: { $0.machine == header.machine && $0.is64Bit == header.is64Bit }),
            header.isLittleEndian
        else {
            throw .unsupported(
                file: image.path,
                "wrong architecture: ELF machine \(header.machine), \(header.is64Bit ? 64 : 32) bits; "
                    + "kperm permutes " + all.map(\.name).joined(separator: ", "))
        }
        return found
    }
}

/// What an architecture adds to an image for one permutation.
public struct Baked: Sendable {
    /// Physical and virtual address of the memory behind the image.
    let physicalAddress: PhysicalAddress
    let virtualAddress: VirtualAddress
    /// Its contents: page tables, the translation table, the status text.
    let contents: [UInt8]
    /// Where in it the translation table begins, in bytes.
    let tableOffset: Int
    let changes: [Change]
    /// What the running kernel will lack.
    public let remarks: [String]
}

extension KernelAnalysis {
    /// Analyses a kernel image.
    ///
    /// - Throws: `RewriteError.unsupported` when the kernel is not one that kperm can permute safely.
    public static func of(_ image: borrowing KernelImage) throws(RewriteError) -> KernelAnalysis {
        try Architecture.of(image).analyse(image)
    }

    /// Analyses a kernel image that is to be run, or whose code is to be followed.
    ///
    /// - Throws: `RewriteError.unsupported` when its pages can be moved in the file and no more (`Architecture.isBootable`).
    public static func ofRunnable(_ image: borrowing KernelImage) throws(RewriteError) -> KernelAnalysis {
        let architecture = try Architecture.of(image)
        guard architecture.isBootable else {
            throw .unsupported(
                file: image.path, "a 32-bit kernel (\(architecture.name)): kperm neither boots one nor follows its code"
            )
        }
        return try architecture.analyse(image)
    }

    /// What holds for a request: all of it, unless the request leaves pins out.
    func answering(_ request: Request) -> KernelAnalysis {
        guard request.leavesOutTranslated else { return self }
        var less = self
        less.pins.removeAll { translated.contains($0) }
        return less
    }

    /// Bytes of text and rodata that the running kernel itself patches, ascending.
    public func patchSites(in image: borrowing KernelImage) -> [Range<VirtualAddress>] {
        architecture.patchSites(self, image)
    }

    /// Bytes that the kernel may have written by the end of the stub, ascending.
    public func startWrites(in image: borrowing KernelImage) -> [Range<VirtualAddress>] {
        architecture.startWrites(self, image)
    }

    /// Where one of the symbols lies that rules speak of: named, or recovered where a kernel names functions only.
    public func address(of symbol: String) -> VirtualAddress? { symbols.optional(symbol)?.address }

    /// The object at an address, by its symbol; all that one may take, where a kernel names functions only.
    public func object(at address: VirtualAddress) -> Range<VirtualAddress>? { data.object(at: address) }

    /// Whether code runs before the kernel's own mapping is live.
    public func runsEarly(_ address: VirtualAddress) -> Bool {
        if let function = index.function(at: address) { return earlyFunctions.contains(function.value) }
        let gap = index.gap(around: address)
        return earlyFunctions.contains { gap.contains($0) }
    }

    /// Whether a symbol's bytes reach into a range.
    func isCovered(_ range: Range<VirtualAddress>) -> Bool {
        index.covering(range.lowerBound).contains { $0.size > 0 } || index.begins(in: range)
    }
}

extension PageMap {
    /// Bytes of the image at a virtual address, or nil where the file has none.
    public func bytes(at address: VirtualAddress, count: Int, in image: borrowing KernelImage) -> [UInt8]? {
        guard count > 0, let start = fileOffset(of: address),
            let end = fileOffset(of: address + UInt64(count - 1)), end - start == count - 1
        else { return nil }
        return (start...end).map { image.file.bytes.load($0, as: UInt8.self) }
    }

    /// Little-endian 64-bit words of the image at a virtual address, or nil where the file has none.
    func words(at address: VirtualAddress, count: Int, in image: borrowing KernelImage) -> [UInt64]? {
        bytes(at: address, count: 8 * count, in: image).map { bytes in
            (0..<count).map { i in bytes[8 * i..<8 * i + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        }
    }
}
