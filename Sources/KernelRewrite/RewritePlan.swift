// SPDX-License-Identifier: MIT

// A plan is a value, complete before a byte moves: the permutation with every
// constraint it answers, and every byte that will change, each with its reason.
// `permute --dry-run` prints it, Apply.swift carries it out, `verify` makes it
// again from the original and replays it.

import Addressing
public import KernelImage
public import PagePermutation
public import SecureRandom

/// How a permuted ELF says its order.
public enum Encoding: String, CaseIterable, Codable, Sendable {
    /// The bytes stay where they are; the program headers tell the truth.
    case segments
    /// The bytes of the pages are moved in the file; few program headers.
    case contents
}

/// What the user asks of a permutation besides what the kernel demands.
public struct Request: Equatable, Sendable {
    public var encoding: Encoding
    public var granule: Granule
    public var pins: [Pin]
    public var glue: [Glue]
    /// Whether pages may move that only code shows which computes their physical addresses. For experiments: such a
    /// kernel boots, and goes wrong where it uses one of these addresses.
    public var leavesOutTranslated: Bool
    /// "fresh" or "given": where the seed came from.
    public var seedSource: String
    /// Whether translations ask a table.
    public var rewrites: Bool
    /// Whether modules that translate must be those that were rewritten for this kernel.
    public var bindsModules = false
    /// Whether pages trade places across classes.
    public var crossesClasses: Bool
    /// Pages that no pin holds because translations ask a table: what an image says of itself. A plan finds them anew.
    public var released: [Range<Int>] = []

    public init(
        encoding: Encoding = .segments, granule: Granule = .page4K, pins: [Pin] = [], glue: [Glue] = [],
        leavesOutTranslated: Bool = false, seedSource: String = "fresh", rewrites: Bool = false,
        crossesClasses: Bool = false
    ) {
        self.rewrites = rewrites
        self.crossesClasses = crossesClasses
        self.encoding = encoding
        self.granule = granule
        self.pins = pins
        self.glue = glue
        self.leavesOutTranslated = leavesOutTranslated
        self.seedSource = seedSource
    }
}

/// Everything that will be done to an image.
public struct RewritePlan: Sendable {
    public let analysis: KernelAnalysis
    public let request: Request
    public let problem: PermutationProblem
    public let permutation: Permutation
    public let table: TranslationTable
    public let baked: Baked
    /// What it notes while it runs; nil for a kernel that is only permuted.
    public let instrumentation: Instrumentation?
    /// Which translations ask a table; nil when the request does not ask for it.
    public let rewriting: Rewriting?

    /// Every byte of the image that changes, and why.
    public var changes: [Change] { baked.changes + (rewriting?.changes ?? []) }

    /// Counted pages whose frame is another than a linear mapping would give.
    public var movedPages: Int { table.movedCount }

    /// Moved pages in percent of counted pages.
    public var percentMoved: Double {
        analysis.countedPages == 0 ? 0 : 100 * Double(movedPages) / Double(analysis.countedPages)
    }

    /// The question that a kernel and a request put.
    ///
    /// - Throws: `RewriteError.problem` when the request asks for what cannot be.
    static func problem(_ analysis: KernelAnalysis, _ request: Request) throws(RewriteError) -> PermutationProblem {
        let classes = request.crossesClasses ? try analysis.crossedClasses() : analysis.classes
        return try wrapping(RewriteError.problem) { () throws(ProblemError) in
            try PermutationProblem(
                pageCount: analysis.map.pageCount, classes: classes, pins: analysis.pins + request.pins,
                glue: request.glue, granule: request.granule)
        }
    }

    /// Plans a freshly drawn permutation.
    ///
    /// - Parameters:
    ///   - sites: what the kernel shall note of its translations, besides those that ask a table, for an audit; nil for
    ///     a kernel to be used.
    ///   - translations: those of the kernel, for a request that has them ask a table.
    /// - Throws: `RewriteError` when the kernel lacks something the plan needs.
    public static func draw(
        _ image: borrowing KernelImage, _ request: Request, seed: borrowing Seed,
        observing sites: [ObservedSite]? = nil, rewriting translations: Translations? = nil
    ) throws(RewriteError) -> RewritePlan {
        let (analysis, rewriting, instrumentation) = try KernelAnalysis.of(image).answering(request).asking(
            request, translations, observing: sites, image, nil)
        let problem = try problem(analysis, request)
        let permutation: Permutation
        do { permutation = try Permutation.draw(problem, seed: seed) } catch { throw .seed(error) }
        return try RewritePlan(analysis, image, request, problem, permutation, instrumentation, rewriting)
    }

    /// Plans a permutation drawn with a fresh seed, which nobody keeps.
    ///
    /// - Throws: `RewriteError` when the kernel lacks something the plan needs.
    public static func draw(
        _ image: borrowing KernelImage, _ request: Request, observing sites: [ObservedSite]? = nil,
        rewriting translations: Translations? = nil
    ) throws(RewriteError) -> RewritePlan {
        let seed = try wrapping(RewriteError.seed, { () throws(SeedError) in try Seed.random() })
        return try draw(image, request, seed: seed, observing: sites, rewriting: translations)
    }

    /// Plans a given order of the frames, which is checked against every demand of the kernel and the request.
    ///
    /// - Parameter translations: those of the kernel, for a request that has them ask a table.
    /// - Throws: `RewriteError.permutation` when the order breaks one.
    public static func replay(
        _ image: borrowing KernelImage, _ request: Request, forward: [UInt32],
        rewriting translations: Translations? = nil
    ) throws(RewriteError) -> RewritePlan {
        let (analysis, rewriting, _) = try KernelAnalysis.of(image).answering(request).asking(
            request, translations, observing: nil, image, nil)
        let problem = try problem(analysis, request)
        let permutation = try wrapping(RewriteError.permutation) { () throws(PermutationError) in
            try Permutation(forward: forward, for: problem)
        }
        return try RewritePlan(analysis, image, request, problem, permutation, nil, rewriting)
    }

    init(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ request: Request, _ problem: PermutationProblem,
        _ permutation: Permutation, _ instrumentation: Instrumentation? = nil, _ rewriting: Rewriting? = nil
    ) throws(RewriteError) {
        guard request.crossesClasses == (rewriting?.frameTests != nil) else {
            throw .unsupported(
                file: image.path, "pages cross classes only where translations and tests of frames ask a table")
        }
        self.analysis = analysis
        var request = request
        request.released = analysis.releasedPages
        self.request = request
        self.problem = problem
        self.permutation = permutation
        table = TranslationTable(
            permutation, virtualBase: analysis.map.virtualBase, physicalBase: analysis.map.physicalBase)
        baked = try analysis.architecture.bake(analysis, image, table, request.seedSource, instrumentation)
        self.instrumentation = instrumentation
        self.rewriting = rewriting?.asking(table)
    }
}

extension KernelAnalysis {
    /// What changes when translations ask a table, if the request asks for that, what holds of the kernel then, and what
    /// is noted of these translations and of others, for an audit. The table is that of pages which do not move.
    func asking(
        _ request: Request, _ translations: Translations?, observing sites: [ObservedSite]?,
        _ image: borrowing KernelImage, _ relocations: KASLRRelocations?
    ) throws(RewriteError) -> (KernelAnalysis, Rewriting?, Instrumentation?) {
        guard request.rewrites else {
            guard let sites else { return (self, nil, nil) }
            return (self, nil, try architecture.instrument(self, image, sites, relocations))
        }
        let translations = translations ?? Translations(rewritable: [])
        let unmoved = TranslationTable(
            Permutation(identity: map.pageCount), virtualBase: map.virtualBase, physicalBase: map.physicalBase)
        var rewriting = try architecture.rewrite(
            self, image, translations.rewritable, sites, relocations, unmoved, translations.frameTests)
        if request.bindsModules { try rewriting.bindModules(self, image) }
        return (architecture.release(self, image, rewriting, translations), rewriting, rewriting.instrumentation)
    }

    /// The question that a request puts to this kernel: what may move, and with what it trades places.
    ///
    /// - Throws: `RewriteError.problem` when the request asks for what cannot be.
    public func problem(_ request: Request) throws(RewriteError) -> PermutationProblem {
        let released = Dictionary(request.released.joined().map { ($0, [String]()) }) { first, _ in first }
        return try RewritePlan.problem(answering(request).releasing(released), request)
    }

    /// The classes with those made one that may trade pages.
    fileprivate func crossedClasses() throws(RewriteError) -> [PageClass] {
        let crossing = classes.filter { architecture.crossing.contains($0.name) }
        guard crossing.count > 1 else {
            throw .unsupported(file: symbols.file, "\(architecture.name): kperm lets no pages cross classes")
        }
        let all = PageClass(
            name: crossing.count == classes.count ? "all" : crossing.map(\.name).joined(separator: "+"),
            ranges: crossing.flatMap(\.ranges).sorted { $0.lowerBound < $1.lowerBound })
        return [all] + classes.filter { !architecture.crossing.contains($0.name) }
    }
}
