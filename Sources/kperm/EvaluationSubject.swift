// SPDX-License-Identifier: MIT

// What is evaluated: an original by the demands given, an image of kperm's by its
// own, and the order that is in it, if one is.

import Addressing
import KernelImage
import KernelRewrite
import PagePermutation

struct EvaluationSubject: ~Copyable {
    /// The kernel as it was built.
    let kernel: KernelImage
    let analysis: KernelAnalysis
    let problem: PermutationProblem
    /// The frame of each page in a given order; nil where every boot draws one.
    let forward: [UInt32]?
    /// "original", "drawn at build" or "drawn at boot".
    let state: String
    /// What a vmlinuz unpacks to, relocations included, in bytes: KASLR looks for room for as much; 0 for a vmlinux.
    let unpackedSize: Int

    /// - Parameters:
    ///   - demands: what an original is asked for; nil when nothing was given.
    ///   - table: the table of a running kernel.
    static func read(
        _ path: String, demands: EvaluateFigures.Demands?, table: String?
    ) throws -> EvaluationSubject {
        let opened = try open(path)
        if opened.request != nil, demands != nil {
            throw CommandFailure.input(
                "\(path): already permuted, by its own demands: --granule, --pin and --glue are for an original")
        }
        let wanted = try opened.request ?? demands?.request(for: opened.image) ?? Request()
        let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.of(opened.image) }
        let problem = try attempt { () throws(RewriteError) in try analysis.problem(wanted) }
        let forward = try table.map { try order(of: $0, for: problem) } ?? opened.forward
        let state = opened.state
        let unpackedSize = opened.unpackedSize
        return EvaluationSubject(
            kernel: opened.image, analysis: analysis, problem: problem, forward: forward, state: state,
            unpackedSize: unpackedSize)
    }

    /// The kernel in a file, what was asked of it, and its order, if it has one.
    private static func open(_ path: String) throws -> Opened {
        if try isCompressed(path) {
            let compressed = try attempt { () throws(RewriteError) in try CompressedKernel.open(path) }
            let manifest = try attempt { () throws(RewriteError) in try compressed.manifest() }
            let asked = try attempt { () throws(RewriteError) in try manifest?.request(file: path) }
            let state = manifest.map { "drawn at \($0.when.rawValue)" } ?? "original"
            let size = compressed.kernel.file.byteCount
            return Opened(
                image: compressed.unpacked(), state: state, request: asked, forward: nil, unpackedSize: size)
        }
        let image = try openImage(path)
        guard PermutedImage.isPermuted(image) else {
            return Opened(image: image, state: "original", request: nil, forward: nil, unpackedSize: 0)
        }
        let permuted = try attempt { () throws(RewriteError) in try PermutedImage.open(path) }
        let asked = try attempt { () throws(RewriteError) in try permuted.manifest.request(file: path) }
        let original = try attempt { () throws(RewriteError) in try permuted.original() }
        return Opened(
            image: original, state: "drawn at build", request: asked, forward: permuted.table.forward, unpackedSize: 0)
    }

    private struct Opened: ~Copyable {
        let image: KernelImage
        let state: String
        let request: Request?
        let forward: [UInt32]?
        let unpackedSize: Int
    }

    /// The order in a table, which must be one that the problem allows.
    private static func order(of path: String, for problem: PermutationProblem) throws -> [UInt32] {
        guard let table = try tableFile(path) else {
            throw CommandFailure.input("\(path): no translation table: kperm table --format bin writes one")
        }
        guard table.pageCount == problem.pageCount else {
            throw CommandFailure.input(
                "\(path): a table of \(table.pageCount) pages, the image has \(problem.pageCount): it is of another image"
            )
        }
        do {
            return try Permutation(forward: table.forward, for: problem).forward
        } catch {
            throw CommandFailure.input("\(path): not an order of this image under its demands: \(error)")
        }
    }
}
