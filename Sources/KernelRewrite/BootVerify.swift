// SPDX-License-Identifier: MIT

// The proof that a kernel which permutes itself is its original but for the
// listed changes. The plan is made again from the original and from what the
// kernel says was asked for; every byte of the unpacked kernel, relocation lists
// included, must then be what the plan says, and every byte of the container the
// original's but for the payload and what describes it.

import Addressing
import KernelImage
import PagePermutation
import SecureRandom

extension CompressedKernel {
    /// What was asked for, in a kernel that kperm made; nil in any other.
    ///
    /// - Throws: `RewriteError.unsupported` when it is damaged.
    public func manifest() throws(RewriteError) -> BootManifest? {
        guard let area = try Architecture.of(kernel).readArea(kernel) else { return nil }
        return try BootManifest.decode(area.manifest, file: path)
    }

    /// Where in the image the table lies that its translations ask, in bytes from its start; nil when they ask none.
    ///
    /// - Throws: `RewriteError.unsupported` when the kernel is damaged.
    public func lookupTable() throws(RewriteError) -> Int? {
        try Architecture.of(kernel).readArea(kernel)?.lookup.flatMap { Int(exactly: $0) }
    }

    /// The seed that the tool gave this kernel; nil in one that gathers its own, or that kperm did not make.
    ///
    /// - Throws: `RewriteError.unsupported` when it is damaged.
    public func seed() throws(RewriteError) -> [UInt8]? { try Architecture.of(kernel).readArea(kernel)?.seed }

    /// The plan that made this kernel, made again from its original; nil when kperm did not make it.
    ///
    /// - Throws: `RewriteError` when this kernel is damaged, or the original is not one that kperm can permute.
    public func plan(
        from original: borrowing CompressedKernel, rewriting translations: Translations? = nil,
        analysis: KernelAnalysis? = nil
    ) throws(RewriteError) -> BootPlan? {
        guard let area = try Architecture.of(kernel).readArea(kernel) else { return nil }
        let manifest = try BootManifest.decode(area.manifest, file: path)
        let request = try manifest.request(file: path)
        let seed: Seed?
        if let secret = area.seed {
            seed = try wrapping(RewriteError.seed) { () throws(SeedError) in
                try Seed.parse(hexadecimal: secret.hexadecimal)
            }
        } else {
            seed = nil
        }
        return try BootPlan.make(
            original, request, seed: seed, tool: manifest.tool, rewriting: translations, analysis: analysis)
    }

    /// Proves this kernel against its original.
    ///
    /// - Parameters:
    ///   - translations: the original's, for a kernel in which they ask a table.
    ///   - analysis: the original's, for those who have it already.
    /// - Throws: `RewriteError` when either cannot be read as what it should be.
    public func verify(
        against original: borrowing CompressedKernel, rewriting translations: Translations? = nil,
        analysis: KernelAnalysis? = nil
    ) throws(RewriteError) -> Verification {
        guard let plan = try plan(from: original, rewriting: translations, analysis: analysis) else {
            throw .unsupported(file: path, "not a permuted kernel: it has no boot area of kperm's")
        }
        var result = Verification()
        result.pages = plan.analysis.map.entries.count { !$0.isGap }
        result.moved = plan.permutation?.movedCount ?? 0
        result.changes = plan.changes.count
        result.leavesOutTranslated = plan.request.leavesOutTranslated
        let wanted = try original.unpacked(with: plan.changes)
        let mine = kernel.file.bytes
        result.bytesCompared = wanted.count
        if mine.byteCount != wanted.count {
            result.findings.append("unpacked it has \(mine.byteCount) bytes, the original has \(wanted.count)")
        } else if unsafe !mine.equals(0, wanted.span.bytes, 0, count: wanted.count) {
            var at = 0
            while at < wanted.count, result.findings.count < 20 {
                let end = min(at + pageSize, wanted.count)
                if unsafe !mine.equals(at, wanted.span.bytes, at, count: end - at) {
                    result.findings.append("unpacked bytes \(at.hex)…\(end.hex) are not what the plan says")
                }
                at = end
            }
        }
        for range in container.differences(from: original.container) {
            result.findings.append("bytes \(range.lowerBound.hex)…\(range.upperBound.hex) of the file differ")
        }
        return result
    }
}
