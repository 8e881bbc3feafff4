// SPDX-License-Identifier: MIT

// What a guest must show that was booted from a vmlinuz. Where the kernel lies is
// known only when it runs: the contents are relocated and all addresses moved
// when the live table has been found.

import Addressing
import GuestCheck
import KernelImage
import KernelRewrite
import PagePermutation

struct LiveExpectation: Sendable {
    private let path: String
    let analysis: KernelAnalysis
    /// The image's bytes as linked.
    private let memory: [UInt8]
    /// Where the table begins that translations ask; the stub fills it in.
    private let lookupTable: Int?
    private let relocations: KASLRRelocations
    private let startWrites: [Range<VirtualAddress>]
    private let patchSites: [Range<VirtualAddress>]

    init(_ kernel: borrowing CompressedKernel) throws {
        let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.of(kernel.kernel) }
        path = kernel.path
        lookupTable = try attempt { () throws(RewriteError) in try kernel.lookupTable() }
        relocations = kernel.relocations
        var memory: [UInt8] = []
        memory.reserveCapacity(analysis.map.pageCount * pageSize)
        for page in 0..<analysis.map.pageCount { memory += analysis.map.contents(of: page, in: kernel.kernel) }
        self.memory = memory
        let leftovers = Self.leftovers(analysis.map)
        startWrites = (analysis.startWrites(in: kernel.kernel) + leftovers).sorted { $0.lowerBound < $1.lowerBound }
        patchSites = (analysis.patchSites(in: kernel.kernel) + leftovers).sorted { $0.lowerBound < $1.lowerBound }
        self.analysis = analysis
    }

    /// The ends of pages that a segment fills in part: the decompressor unpacks the whole file into the kernel's place
    /// and leaves there what it does not copy over.
    private static func leftovers(_ map: PageMap) -> [Range<VirtualAddress>] {
        map.entries.enumerated().filter { !$1.isGap && $1.fileBytes < pageSize }.map { page, entry in
            let start = map.virtualBase + UInt64(page * pageSize)
            return start + UInt64(entry.fileBytes)..<start + UInt64(pageSize)
        }
    }

    func expectation(isPermuted: Bool, isOff: Bool) -> GuestExpectation {
        let identity = TranslationTable(
            Permutation(identity: analysis.map.pageCount), virtualBase: analysis.map.virtualBase,
            physicalBase: analysis.map.physicalBase)
        var expectation = relocated(to: identity)
        expectation.placement = isPermuted ? .live { relocated(to: $0) } : .searched { relocated(to: $0) }
        expectation.expectsUnpermuted = isOff
        return expectation
    }

    /// What must be seen when the kernel lies where a table says.
    private func relocated(to table: TranslationTable) -> GuestExpectation {
        let map = analysis.map
        let slide = table.virtualBase.rawValue &- map.virtualBase.rawValue
        func moved(_ ranges: [Range<VirtualAddress>]) -> [Range<VirtualAddress>] {
            ranges.map { $0.lowerBound + slide..<$0.upperBound + slide }
        }
        var memory = memory
        if slide != 0 { relocations.apply(slide, to: &memory, linkedAt: map.virtualBase) }
        if let lookupTable {
            let bytes = LookupTable.bytes(table)
            memory.replaceSubrange(lookupTable..<lookupTable + bytes.count, with: bytes)
        }
        return GuestExpectation(
            kernelPath: path, table: table,
            topLevelPageTable: analysis.rootTable.map { table.physicalBase + ($0 - map.physicalBase) },
            stubEnd: analysis.stubEnd + slide, pages: analysis.pageKinds,
            contents: { [memory] page in Array(memory[page.index * pageSize..<(page.index + 1) * pageSize]) },
            mayDifferAtStub: moved(startWrites), patchSites: moved(patchSites),
            userspace: .linux(release: analysis.release))
    }
}
