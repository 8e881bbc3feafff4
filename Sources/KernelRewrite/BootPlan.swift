// SPDX-License-Identifier: MIT

// The plan for a kernel that is permuted while it starts: the loader lays it down
// linearly and relocates it, then the boot stub moves the pages. The plan says
// which bytes of the unpacked kernel change; the order itself is drawn by the
// stub, at every boot or from a seed that the tool gives it.

import Addressing
import KernelImage
public import PagePermutation
public import SecureRandom

/// When a permutation is drawn.
public enum When: String, CaseIterable, Codable, Sendable {
    /// By the tool: the same order at every boot.
    case build
    /// By the boot stub, afresh at every boot.
    case boot
}

/// Everything that will be done to a compressed kernel.
public struct BootPlan: Sendable {
    public let analysis: KernelAnalysis
    public let request: Request
    public let when: When
    public let problem: PermutationProblem
    /// The order, where the tool gives the seed.
    public let permutation: Permutation?
    /// Bytes of the unpacked kernel that change.
    public let changes: [Change]
    public let remarks: [String]
    /// What it notes while it runs; nil for a kernel that is only permuted.
    public let instrumentation: Instrumentation?
    /// What asks the table; nil for a kernel in which nothing does.
    public let rewriting: Rewriting?

    /// Plans for a kernel.
    ///
    /// - Parameters:
    ///   - seed: what the stub draws from; nil to let it gather a seed at every boot.
    ///   - sites: what the kernel shall note of its translations, besides those that ask a table, for an audit; nil for
    ///     a kernel to be used.
    ///   - translations: those of the kernel, for a request that has them ask a table.
    ///   - known: the kernel's analysis, for those who have it already.
    /// - Throws: `RewriteError` when the kernel lacks something the plan needs, or the request asks for what cannot be.
    public static func make(
        _ kernel: borrowing CompressedKernel, _ request: Request, seed: borrowing Seed?, tool: String,
        observing sites: [ObservedSite]? = nil, rewriting translations: Translations? = nil,
        analysis known: KernelAnalysis? = nil
    ) throws(RewriteError) -> BootPlan {
        let whole: KernelAnalysis
        if let known { whole = known } else { whole = try KernelAnalysis.of(kernel.kernel) }
        guard !request.crossesClasses else {
            throw .unsupported(file: kernel.kernel.path, "pages of a kernel that permutes itself keep to their classes")
        }
        let (analysis, rewriting, instrumentation) = try whole.answering(request).asking(
            request, translations, observing: sites, kernel.kernel, kernel.relocations)
        let problem = try RewritePlan.problem(analysis, request)
        let remarks = try builtInWords(kernel.kernel)
        var permutation: Permutation?
        var secret: [UInt8]?
        switch seed {
        case .some(let seed):
            do { permutation = try Permutation.draw(problem, seed: seed) } catch { throw .seed(error) }
            secret = seed.bytes
        case .none: break
        }
        var request = request
        request.released = analysis.releasedPages
        let manifest = BootManifest(request, isDrawnAtBoot: secret == nil, tool: tool)
        let planted = try analysis.architecture.plant(
            analysis, kernel.kernel, problem, secret, manifest.encoded(), instrumentation, rewriting)
        return BootPlan(
            analysis: analysis, request: request, when: secret == nil ? .boot : .build, problem: problem,
            permutation: permutation, changes: planted.changes, remarks: planted.remarks + remarks,
            instrumentation: instrumentation, rewriting: rewriting)
    }

    /// What the kernel's own command line means for the boot stub, which sees the loader's only.
    ///
    /// - Throws: `RewriteError.unsupported` when it holds words for the stub: they would be without effect.
    static func builtInWords(_ image: borrowing KernelImage) throws(RewriteError) -> [String] {
        let config: KernelConfig?
        do { config = try image.config() } catch { return ["\(error.message); built-in options were not looked at"] }
        guard let config, let line = config.commandLine else { return [] }
        if let word = line.split(separator: " ").first(where: { $0.hasPrefix("kperm=") || $0.hasPrefix("kperm.") }) {
            throw .unsupported(
                file: image.path,
                "\(word) is built into the kernel (CONFIG_CMDLINE), where the boot stub does not see it: give it to the "
                    + "loader")
        }
        return config.ignoresLoader
            ? ["the kernel ignores the loader's command line (CONFIG_CMDLINE_OVERRIDE); the boot stub reads it"] : []
    }

    /// Counted pages that the stub may move.
    public var movablePages: Int {
        problem.drawings.reduce(0) { $0 + $1.granules.reduce(0) { $0 + $1.count } } * request.granule.pages
    }

    /// The file with the plan's changes in its payload.
    ///
    /// - Throws: `RewriteError` when KASLR relocates what changes, or what changed no longer fits.
    public func image(from kernel: borrowing CompressedKernel) throws(RewriteError) -> [UInt8] {
        let unpacked = try kernel.unpacked(with: changes)
        return try wrapping(RewriteError.image) { () throws(ImageError) in try kernel.container.replacing(unpacked) }
    }

    /// Writes what `image` gave. With a seed of the tool's it holds a secret, and only its owner may read it (mode
    /// 0600); else it keeps its input's mode.
    ///
    /// - Throws: `RewriteError.output` when the file cannot be written; nothing is left behind then.
    public func write(
        _ image: [UInt8], to path: String, from kernel: borrowing CompressedKernel
    ) throws(RewriteError) {
        let mode = when == .build ? 0o600 : kernel.container.file.mode
        let output = try OutputFile.create(path, mode: mode, notOver: kernel.container.file)
        try output.write(image, at: 0)
        try output.commit()
    }

    /// Both.
    public func apply(to path: String, from kernel: borrowing CompressedKernel) throws(RewriteError) {
        try write(image(from: kernel), to: path, from: kernel)
    }
}

/// What a kernel says of itself that permutes itself.
struct AreaNotes {
    let manifest: [UInt8]
    /// Given by the tool, if it was.
    let seed: [UInt8]?
    /// Where the table lies that its translations ask, in bytes from the start of the image; nil when they ask none.
    let lookup: UInt64?
}

/// What an architecture changes in a kernel that is permuted while it starts.
struct Planted: Sendable {
    var changes: [Change] = []
    var remarks: [String] = []
}
