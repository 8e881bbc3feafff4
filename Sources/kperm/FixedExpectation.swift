// SPDX-License-Identifier: MIT

// What a guest must show that was booted from a vmlinux: it lies where it was
// linked to lie, in the order of the image's own table.

import Addressing
import GuestCheck
import KernelImage
import KernelRewrite
import PagePermutation

extension GuestExpectation {
    /// Of a permuted image.
    ///
    /// - Parameter original: what it was made of.
    static func of(
        _ path: String, _ permuted: borrowing PermutedImage, _ original: borrowing KernelImage
    ) throws -> GuestExpectation {
        let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.of(original) }
        var pages: [[UInt8]] = []
        for page in 0..<analysis.map.pageCount {
            pages.append(permuted.contents(of: page, analysis.map, original: original))
        }
        return try of(path, permuted.table, analysis, original, pages)
    }

    /// Of an image that is not permuted.
    static func of(_ stock: borrowing KernelImage, _ analysis: KernelAnalysis) throws -> GuestExpectation {
        let identity = TranslationTable(
            Permutation(identity: analysis.map.pageCount), virtualBase: analysis.map.virtualBase,
            physicalBase: analysis.map.physicalBase)
        let pages = (0..<analysis.map.pageCount).map { analysis.map.contents(of: $0, in: stock) }
        return try of(stock.path, identity, analysis, stock, pages)
    }

    private static func of(
        _ path: String, _ table: TranslationTable, _ analysis: KernelAnalysis, _ original: borrowing KernelImage,
        _ pages: [[UInt8]]
    ) throws -> GuestExpectation {
        let isLinux = analysis.release != nil
        guard let machine = GuestMachine(rawValue: analysis.architecture.name) else {
            throw CommandFailure.input("\(path): kperm has no machine for \(analysis.architecture.name)")
        }
        return GuestExpectation(
            kernelPath: path, table: table, topLevelPageTable: analysis.rootTable, stubEnd: analysis.stubEnd,
            pages: analysis.pageKinds, contents: { pages[$0.index] },
            mayDifferAtStub: analysis.startWrites(in: original),
            patchSites: analysis.patchSites(in: original),
            userspace: isLinux ? .linux(release: analysis.release) : .selfChecking, protectsItself: isLinux,
            machine: machine)
    }
}
