// SPDX-License-Identifier: MIT

// One kernel, built for deep page tables, on a processor that runs it under a
// narrower mode. The processor walks fewer levels than the kernel's code does, so
// the kernel is told a lie at the top: a folded level is no table at all, its
// "entry" is the table below itself, and looking an address up in it costs no
// memory. That much is free. What a fold cannot hide is that addresses of the wide
// layout are none here: whatever lay in the new hole needs another place, which the
// kernel has to keep in a variable.
//
// The simulation does both for real: it builds page tables by the code of the deep
// kernel, level by level, and walks them as the narrow processor does.

/// A kernel built for one mode, run under another of the same family with fewer levels.
public struct FoldedKernel: Sendable {
    /// What becomes of a region of the wide layout.
    public struct Fate: Sendable {
        public let region: Region
        /// Whether the processor takes all its addresses.
        public let isCanonical: Bool
        /// Where the narrow layout has it; nil when it does not.
        public let narrow: Region?
        /// Where its first address leads if the bits that the processor does not look at are just dropped.
        public let truncatedStart: UInt64
        /// What of the narrow layout lies there.
        public let hits: RegionKind?
        /// Whether the region would fit into one half of the narrow space.
        public let fits: Bool

        /// Whether code can have the region's base as a constant that holds in both modes.
        public var isConstant: Bool { narrow?.range.lowerBound == region.range.lowerBound }
    }

    /// What the simulated walks found.
    public struct Walks: Equatable, Sendable {
        public let addresses: Int
        /// At how many of them the processor found the frame that the kernel had put there.
        public let foldedRight: Int
        /// The same when the kernel does not fold, and takes all its levels for real.
        public let unfoldedRight: Int
        /// Entries in memory that one walk of the kernel's code reads, and of the processor.
        public let kernelReads: Int
        public let processorReads: Int
        /// Entries that the kernel's code reads under the mode that it was built for.
        public let unfoldedReads: Int
    }

    public let wide: AddressLayout
    public let narrow: AddressLayout
    /// The names of the levels that are folded, as Linux calls them, from the top.
    public let foldedLevels: [String]
    public let fates: [Fate]

    /// - Returns: nil when the modes are of two families, or the second has not fewer levels.
    public init?(_ wide: AddressLayout, under narrow: AddressLayout) {
        guard wide.mode.family == narrow.mode.family, narrow.mode.levels < wide.mode.levels else { return nil }
        self.wide = wide
        self.narrow = narrow
        // The top table is the PGD under every mode; what is missing is missing right below it.
        let below = Array(["P4D", "PUD", "PMD", "PTE"].suffix(wide.mode.levels - 1))
        foldedLevels = Array(below.prefix(wide.mode.levels - narrow.mode.levels))
        fates = wide.regions.filter { $0.kind != .hole }.map { region in
            let start = narrow.mode.truncated(region.range.lowerBound)
            let half = UInt64(1) << UInt64(narrow.mode.halfBits)
            return Fate(
                region: region,
                isCanonical: narrow.mode.isCanonical(region.range.lowerBound)
                    && narrow.mode.isCanonical(region.range.upperBound)
                    && region.range.lowerBound >> 63 == region.range.upperBound >> 63,
                narrow: narrow.region(region.kind), truncatedStart: start,
                hits: narrow.region(at: start)?.kind, fits: region.byteCount.map { $0 <= half } ?? false)
        }
    }

    /// Maps pages all over the narrow layout by the deep kernel's code, and looks each up as the processor does.
    ///
    /// - Parameters:
    ///   - perRegion: pages of each region.
    ///   - random: gives the next random number.
    public func walk(perRegion: Int, random: () -> UInt64) -> Walks {
        var addresses: Set<UInt64> = []
        for region in narrow.regions where region.kind != .hole {
            let pages = (region.range.upperBound - region.range.lowerBound) >> 12 + 1
            for _ in 0..<perRegion { addresses.insert(region.range.lowerBound + (random() % pages) << 12) }
        }
        let ordered = addresses.sorted()
        func run(folding: Int, levels: Int) -> (right: Int, kernelReads: Int, processorReads: Int) {
            var tables = PageTables(levels: wide.mode.levels, folded: folding)
            // Frames have numbers that no table has.
            let frame = { (number: Int) in UInt64(1 << 32 + number) }
            var found = (right: 0, kernelReads: 0, processorReads: 0)
            for (number, address) in ordered.enumerated() {
                found.kernelReads = max(found.kernelReads, tables.map(address, to: frame(number)))
            }
            for (number, address) in ordered.enumerated() {
                let walk = tables.processorWalk(address, levels: levels)
                if walk.frame == frame(number) { found.right += 1 }
                found.processorReads = max(found.processorReads, walk.reads)
            }
            return found
        }
        let folded = run(folding: wide.mode.levels - narrow.mode.levels, levels: narrow.mode.levels)
        let unfolded = run(folding: 0, levels: narrow.mode.levels)
        return Walks(
            addresses: ordered.count, foldedRight: folded.right, unfoldedRight: unfolded.right,
            kernelReads: folded.kernelReads, processorReads: folded.processorReads,
            unfoldedReads: unfolded.kernelReads)
    }
}

/// Page tables in a simulated memory, as a kernel builds them and as a processor reads them.
private struct PageTables {
    /// Tables by number, the root first; an entry is the number of a table below, or of a frame.
    private var tables: [[UInt64]] = [[UInt64](repeating: 0, count: 512)]
    let levels: Int
    /// How many levels right below the top one are folded.
    let folded: Int

    init(levels: Int, folded: Int) {
        self.levels = levels
        self.folded = folded
    }

    private static func index(_ address: UInt64, _ level: Int) -> Int { Int(address >> UInt64(12 + 9 * level) & 511) }

    /// Maps a page through all levels of the kernel's code: `pgd_offset`, `p4d_offset`, and so on, and `set_pte`.
    ///
    /// - Returns: how many entries were read on the way.
    @discardableResult
    mutating func map(_ address: UInt64, to frame: UInt64) -> Int {
        var reads = 0
        // Which bits index the top table is a variable (`pgdir_shift`): it stands above what is not folded.
        var slot = (table: 0, index: Self.index(address, levels - 1 - folded))
        for level in (0..<levels - 1).reversed() {
            // A folded level is the entry above it: its `offset` gives back what it was given.
            if level >= levels - 1 - folded { continue }
            reads += 1
            if tables[slot.table][slot.index] == 0 {
                tables[slot.table][slot.index] = UInt64(tables.count)
                tables.append([UInt64](repeating: 0, count: 512))
            }
            slot = (Int(tables[slot.table][slot.index]), Self.index(address, level))
        }
        tables[slot.table][slot.index] = frame
        return reads + 1
    }

    /// The frame that a processor finds which walks so many levels (nil: none), and how many entries it read.
    func processorWalk(_ address: UInt64, levels: Int) -> (frame: UInt64?, reads: Int) {
        var entry: UInt64 = 0
        var reads = 0
        for level in (0..<levels).reversed() {
            guard entry < UInt64(tables.count) else { return (nil, reads) }
            entry = tables[Int(entry)][Self.index(address, level)]
            reads += 1
            if entry == 0 { return (nil, reads) }
        }
        return (entry, reads)
    }
}
