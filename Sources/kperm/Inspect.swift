// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import KernelImage
import KernelRewrite
import PagePermutation

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Say what an image is, which of its pages can move, and why the others cannot.",
        discussion: """
            Prints format, architecture, release, segments, page classes with counted, pinned and movable pages, what \
            stays by nature, and every pin with its reason and the instruction, relocation or symbol that shows it. \
            For an image that kperm made, also what was done to it.

            Percentages everywhere are of counted pages: pages of the image's allocated sections, less those that \
            stay by nature.
            """)

    @Argument(help: "A kernel image.", completion: .file())
    var image: String

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let path = image
        if try isFlat(path) { return try inspectFlat() }
        if try isCompressed(path) {
            let report = try compressedReport(path)
            if json { try printJSON(report) } else { report.print() }
            return
        }
        let image = try openImage(path)
        let report: InspectReport
        if PermutedImage.isPermuted(image) {
            let permuted = try attempt { () throws(RewriteError) in try PermutedImage.open(path) }
            let original = try attempt { () throws(RewriteError) in try permuted.original() }
            report = InspectReport(original, try analysis(original), permuted.manifest)
        } else {
            report = InspectReport(image, try analysis(image), nil)
        }
        if json { try printJSON(report) } else { report.print() }
    }

    private func compressedReport(_ path: String) throws -> InspectReport {
        let kernel = try attempt { () throws(RewriteError) in try CompressedKernel.open(path) }
        var report = InspectReport(kernel.kernel, try analysis(kernel.kernel), nil)
        let relocations = kernel.relocations
        let words = relocations.words32.count + relocations.inverse32.count + relocations.words64.count
        report.format =
            "bzImage (\(kernel.container.codec.rawValue), \(kernel.container.payload.count) bytes for "
            + "\(kernel.container.decodedSize)\(kernel.container.isSigned ? ", signed" : ""))"
        report.kaslr = words == 0 ? "no relocation lists" : "yes: \(words) words are relocated at boot"
        report.permutesItself = try attempt { () throws(RewriteError) in try kernel.manifest() }
        return report
    }

    private func analysis(_ image: borrowing KernelImage) throws -> KernelAnalysis {
        try attempt { () throws(RewriteError) in try KernelAnalysis.of(image) }
    }
}

struct PinReport: Encodable {
    let first: Int
    let last: Int
    let reason: String
    let evidence: String

    init(_ pin: Pin) {
        first = pin.pages.lowerBound
        last = pin.pages.upperBound - 1
        reason = pin.reason
        evidence = pin.evidence
    }
}

struct ClassReport: Encodable {
    let name: String
    let counted: Int
    let pinned: Int
    let moved: Int?
}

extension KernelAnalysis {
    /// Numbers of pages by class; with an order, how many of them move in it.
    func classReports(moved forward: [UInt32]?) -> [ClassReport] {
        let pinned = Set(pins.flatMap(\.pages))
        return classes.map { pageClass in
            let pages = pageClass.ranges.joined()
            return ClassReport(
                name: pageClass.name, counted: pageClass.pageCount, pinned: pages.count { pinned.contains($0) },
                moved: forward.map { forward in pages.count { Int(forward[$0]) != $0 } })
        }
    }
}

/// The configuration that an image carries (CONFIG_IKCONFIG), as far as it matters here.
struct ConfigReport: Encodable {
    var options: Int?
    var commandLine: String?
    var ignoresLoader: Bool?
    var problem: String?

    init?(_ image: borrowing KernelImage) {
        do {
            guard let config = try image.config() else { return nil }
            options = config.count
            commandLine = config.commandLine
            ignoresLoader = config.ignoresLoader
        } catch {
            problem = error.message
        }
    }

    var summary: String {
        if let problem { return problem }
        let line = commandLine.map { ", built-in command line: \($0)" } ?? ", no built-in command line"
        return "\(options ?? 0) options in the image\(line)\(ignoresLoader == true ? " (the loader's is ignored)" : "")"
    }
}

struct InspectReport: Encodable {
    struct SegmentReport: Encodable {
        let virtualAddress: String
        let physicalAddress: String
        let fileSize: Int
        let memorySize: Int
    }

    struct ExclusionReport: Encodable {
        let first: Int
        let last: Int
        let reason: String
    }

    let file: String
    var format: String
    let architecture: String
    let release: String?
    let build: String?
    /// Nil when the image carries no configuration.
    let config: ConfigReport?
    var kaslr: String
    let virtualBase: String
    let physicalBase: String
    let pages: Int
    let counted: Int
    let pinned: Int
    let movable: Int
    let segments: [SegmentReport]
    let classes: [ClassReport]
    let exclusions: [ExclusionReport]
    let pins: [PinReport]
    let remarks: [String]
    let permuted: Manifest?
    /// A vmlinuz that permutes itself: what was asked for.
    var permutesItself: BootManifest?

    init(_ image: borrowing KernelImage, _ analysis: KernelAnalysis, _ manifest: Manifest?) {
        file = image.path
        format = "ELF\(image.header.is64Bit ? 64 : 32) \(image.header.isLittleEndian ? "little" : "big")-endian vmlinux"
        architecture = analysis.architecture.name
        release = analysis.release
        build = analysis.build
        config = ConfigReport(image)
        kaslr = "no: a vmlinux runs where it was linked to run"
        virtualBase = analysis.map.virtualBase.description
        physicalBase = analysis.map.physicalBase.description
        pages = analysis.map.pageCount
        counted = analysis.countedPages
        pinned = analysis.pinnedPages
        movable = analysis.countedPages - analysis.pinnedPages
        segments = image.segments.filter { $0.type == Segment.load }.map {
            SegmentReport(
                virtualAddress: $0.virtualAddress.description, physicalAddress: $0.physicalAddress.description,
                fileSize: Int($0.fileSize), memorySize: Int($0.memorySize))
        }
        classes = analysis.classReports(moved: nil)
        exclusions = analysis.exclusions.map {
            ExclusionReport(first: $0.pages.lowerBound, last: $0.pages.upperBound - 1, reason: $0.reason)
        }
        pins = analysis.pins.map { PinReport($0) }
        remarks = analysis.remarks
        permuted = manifest
    }

    func print() {
        Swift.print("file:         \(file)")
        Swift.print("format:       \(format), \(architecture)")
        Swift.print("release:      \(release ?? "none found")")
        if let build { Swift.print("build:        \(build)") }
        if let config { Swift.print("config:       \(config.summary)") }
        Swift.print("KASLR:        \(kaslr)")
        Swift.print("image:        \(pages) pages from \(virtualBase) (virtual), \(physicalBase) (physical)")
        if let permuted {
            let percent = permuted.counted == 0 ? 0 : 100 * Double(permuted.moved) / Double(permuted.counted)
            Swift.print(
                "permuted:     yes, \(permuted.moved) of \(permuted.counted) pages moved (\(percent.oneDecimal) %), "
                    + (permuted.crossClass == true ? "across classes, " : "")
                    + "encoding \(permuted.encoding.rawValue), granule \(permuted.granule), seed \(permuted.seed), "
                    + "kperm \(permuted.tool)")
        } else if let permutesItself {
            let drawn = permutesItself.when == .boot ? "at every boot" : "by the tool, seed \(permutesItself.seed)"
            Swift.print(
                "permuted:     drawn \(drawn), granule \(permutesItself.granule), kperm \(permutesItself.tool)")
        } else {
            Swift.print("permuted:     no")
        }
        let percent = counted == 0 ? 0 : 100 * Double(movable) / Double(counted)
        Swift.print("can move:     \(movable) of \(counted) counted pages (\(percent.oneDecimal) %)")
        for remark in remarks { Swift.print("              \(remark)") }
        Swift.print("segments:")
        for segment in segments {
            Swift.print(
                "  \(segment.virtualAddress) at \(segment.physicalAddress): "
                    + "\(segment.fileSize) bytes in the file, \(segment.memorySize) in memory")
        }
        Swift.print("classes:")
        for entry in classes { Swift.print("  \(entry.name): \(entry.counted) pages, \(entry.pinned) pinned") }
        Swift.print("stays by nature:")
        for exclusion in exclusions {
            Swift.print("  pages \(exclusion.first)-\(exclusion.last): \(exclusion.reason)")
        }
        Swift.print("pins:")
        for pin in pins {
            Swift.print("  pages \(pin.first)-\(pin.last): \(pin.reason) [\(pin.evidence)]")
        }
    }
}
