// SPDX-License-Identifier: MIT

// The kernel that a report is of: its orders, what it is longer by as a file, and
// what its translation sites translate. What a plan needs of the image is taken
// here, so that everything after this works on values.

import Addressing
import Glibc
import HazardAudit
import KernelImage
import KernelRewrite
import PagePermutation
import Report
import SecureRandom

struct KernelSubject {
    /// Orders with one granule.
    struct Orders {
        let granule: Granule
        let problem: PermutationProblem
        let drawn: [Permutation]
    }

    let path: String
    let analysis: KernelAnalysis
    let kernel: OverheadReport.Kernel
    /// Without the zeros at its end, as traces have it; nil if the image has none.
    let buildID: [UInt8]?
    /// The largest granule first.
    let orders: [Orders]
    let images: [OverheadReport.ImageDelta]
    /// By linked address, what a place translates; empty unless asked for.
    let sites: [VirtualAddress: (place: String, translates: TranslationCount)]

    /// What a translation site adds to.
    enum TranslationCount: String { case image, constant, unclear, other }

    static let granules = [Granule.page64K, .page16K, .page4K]

    /// - Parameter needsSites: whether the code is followed to learn what its translation sites translate.
    init(_ path: String, _ seeds: OrderSeeds, needsSites: Bool) throws {
        self.path = path
        if try isCompressed(path) {
            let compressed = try attempt { () throws(RewriteError) in try CompressedKernel.open(path) }
            guard try attempt({ () throws(RewriteError) in try compressed.manifest() }) == nil else {
                throw CommandFailure.input("\(path): already permuted; give the original")
            }
            let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.of(compressed.kernel) }
            self.analysis = analysis
            images = try Self.delta(compressed, analysis)
            buildID = Self.buildID(of: compressed.kernel)
            sites = needsSites ? try Self.sites(compressed.kernel) : [:]
            kernel = Self.kernel(path, "vmlinuz", analysis, buildID)
        } else {
            let image = try openImage(path)
            guard !PermutedImage.isPermuted(image) else {
                throw CommandFailure.input("\(path): already permuted; give the original")
            }
            let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.ofRunnable(image) }
            self.analysis = analysis
            images = try Self.deltas(image, seeds)
            buildID = Self.buildID(of: image)
            sites = needsSites ? try Self.sites(image) : [:]
            kernel = Self.kernel(path, "vmlinux", analysis, buildID)
        }
        orders = try Self.drawn(analysis, path, seeds)
    }

    private static func kernel(
        _ path: String, _ format: String, _ analysis: KernelAnalysis, _ buildID: [UInt8]?
    ) -> OverheadReport.Kernel {
        OverheadReport.Kernel(
            file: lastComponent(path), format: format,
            architecture: analysis.architecture.name, release: analysis.release, build: analysis.build,
            buildID: buildID?.hexadecimal, pages: analysis.map.pageCount, counted: analysis.countedPages,
            pinned: analysis.pinnedPages)
    }

    private static func buildID(of image: borrowing KernelImage) -> [UInt8]? {
        guard let note = image.notes().first(where: { $0.owner == "GNU" && $0.type == 3 }) else { return nil }
        let bytes = image.file.bytes
        var id = note.descriptor.map { bytes.load($0, as: UInt8.self) }
        while id.last == 0 { id.removeLast() }
        return id
    }

    private static func drawn(_ analysis: KernelAnalysis, _ path: String, _ seeds: OrderSeeds) throws -> [Orders] {
        try granules.map { granule in
            do {
                let problem = try PermutationProblem(
                    pageCount: analysis.map.pageCount, classes: analysis.classes, pins: analysis.pins,
                    granule: granule)
                var drawn: [Permutation] = []
                for order in seeds.all.indices {
                    drawn.append(try Permutation.draw(problem, seed: try seeds.seed(order)))
                }
                return Orders(granule: granule, problem: problem, drawn: drawn)
            } catch let failure as CommandFailure {
                throw failure
            } catch {
                throw CommandFailure.input("\(path): granule \(granule.rawValue): \(error)")
            }
        }
    }

    // MARK: Sizes

    private static let level = 3

    /// A vmlinux with each order, in both encodings.
    private static func deltas(
        _ image: borrowing KernelImage, _ seeds: OrderSeeds
    ) throws -> [OverheadReport.ImageDelta] {
        let scratch = try Scratch()
        let file = "\(scratch.path)/image"
        let original = try compressed(image.file.bytes, image.path)
        var deltas: [OverheadReport.ImageDelta] = []
        for encoding in Encoding.allCases {
            var sizes: [Double] = []
            var streams: [Double] = []
            for order in seeds.all.indices {
                progress("\(image.path): written with order \(order + 1) as \(encoding.rawValue)")
                let seed = try seeds.seed(order)
                let request = Request(encoding: encoding, seedSource: "given")
                let plan = try attempt { () throws(RewriteError) in try RewritePlan.draw(image, request, seed: seed) }
                try attempt { () throws(RewriteError) in try plan.apply(to: file, from: image, tool: kpermVersion) }
                let written = try mapped(file)
                sizes.append(Double(written.byteCount))
                streams.append(Double(try compressed(written.bytes, file)))
            }
            deltas.append(
                OverheadReport.ImageDelta(
                    form: "vmlinux, \(encoding.rawValue)", compressor: "zstd, level \(level)",
                    raw: image.file.byteCount, permutedRaw: Estimate(sizes), compressed: original,
                    permutedCompressed: Estimate(streams)))
        }
        return deltas
    }

    private static func mapped(_ path: String) throws -> MappedFile {
        do { return try MappedFile.open(path) } catch { throw CommandFailure.input("\(error)") }
    }

    private static func compressed(_ bytes: RawSpan, _ path: String) throws -> Int {
        guard let size = zstandardSize(of: bytes, level: level) else {
            throw CommandFailure.input("\(path): too little memory to compress it")
        }
        return size
    }

    /// A vmlinuz, which draws at every boot: it is the same for all orders.
    private static func delta(
        _ kernel: borrowing CompressedKernel, _ analysis: KernelAnalysis
    ) throws -> [OverheadReport.ImageDelta] {
        progress("\(kernel.path): compressing")
        let plan = try attempt { () throws(RewriteError) in
            try BootPlan.make(kernel, Request(), seed: nil, tool: kpermVersion, analysis: analysis)
        }
        let image = try attempt { () throws(RewriteError) in try plan.image(from: kernel) }
        // A plan for a vmlinuz changes bytes of the unpacked kernel, and adds none.
        let unpacked = kernel.kernel.file.byteCount
        return [
            OverheadReport.ImageDelta(
                form: "vmlinuz, unpacked and as it is", compressor: "\(kernel.container.codec)", raw: unpacked,
                permutedRaw: Estimate(Double(unpacked)), compressed: kernel.container.file.byteCount,
                permutedCompressed: Estimate(Double(image.count)))
        ]
    }

    // MARK: Sites

    private static func sites(
        _ image: borrowing KernelImage
    ) throws -> [VirtualAddress: (place: String, translates: TranslationCount)] {
        progress("\(image.path): following the code to its translation sites")
        let subject = try attempt { () throws(RewriteError) in try AuditSubject.kernel(image) }
        var sites: [VirtualAddress: (place: String, translates: TranslationCount)] = [:]
        for site in TranslationSites(subject).sites {
            let kind: TranslationCount =
                switch site.kind {
                // A conditional move reads the offsets of the image and of the linear map.
                case .register, .shared: site.instruction.hasPrefix("cmov") ? .unclear : .image
                case .constant: .constant
                case .notUnderstood: .unclear
                case .reverse, .offset: .other
                }
            sites[site.address] = (site.place, kind)
        }
        return sites
    }

    // MARK: Rows

    var granuleRows: [OverheadReport.GranuleRow] {
        orders.map { orders in
            let problem = orders.problem
            let counted = Double(analysis.countedPages)
            var bits = 0.0
            var joint = 0.0
            var movable = 0
            for (index, entropy) in problem.entropy.enumerated() {
                let pages = problem.movablePages(inClass: index)
                movable += pages
                bits += Double(pages) * entropy.target
                joint += entropy.joint
            }
            return OverheadReport.GranuleRow(
                granule: orders.granule.rawValue, movable: movable,
                moved: Estimate(orders.drawn.map { Double($0.movedCount) }),
                runs: Estimate(orders.drawn.map { Double(Self.runs($0.forward)) }),
                targetBits: counted > 0 ? bits / counted : 0, jointBits: joint)
        }
    }

    /// Pieces of the image whose frames follow one another.
    private static func runs(_ forward: [UInt32]) -> Int {
        zip(forward, forward.dropFirst()).count { $0 + 1 != $1 } + 1
    }

    /// The 4K orders' tables, as the kernel is linked.
    var tables: [TranslationTable] {
        (orders.last?.drawn ?? []).map {
            TranslationTable(
                $0, virtualBase: analysis.map.virtualBase, physicalBase: analysis.map.physicalBase)
        }
    }
}
