// SPDX-License-Identifier: MIT

import Addressing
public import ArgumentParser
import FoundationEssentials
import Glibc
import KernelImage
public import KernelRewrite
public import PagePermutation
import SecureRandom

extension Encoding: ExpressibleByArgument {}
extension Granule: ExpressibleByArgument {}

enum When: String, ExpressibleByArgument, CaseIterable {
    case build
    case boot
}

struct Permute: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "permute",
        abstract: "Give a kernel image a random order of its physical page frames.",
        discussion: """
            Reads IMAGE (an x86-64 vmlinux with symbols), draws a permutation of the frames of each page class, and \
            writes the permuted image with its page tables, translation table and boot stub. Nothing is written when \
            the kernel is not one that kperm can permute safely.

            The seed decides the permutation and is a secret, as is the output (mode 0600). Without --seed or \
            --seed-file a fresh one comes from the operating system and is not kept.

            Pages can be named as SYMBOL, SYMBOL+OFFSET, 0xADDRESS, FROM..TO, page:N or page:N-M.

              kperm permute vmlinux -o vmlinux.kperm
              kperm permute vmlinux -o out --encoding contents --granule 16K
              kperm permute vmlinux -o out --pin my_table --glue dma_buffer --dry-run
            """)

    @Argument(help: "The kernel image: an ELF vmlinux with symbols.", completion: .file())
    var image: String

    @Option(name: .shortAndLong, help: "Where to write the permuted image.", completion: .file())
    var output: String?

    @Option(
        help: "When the permutation is drawn: build (now). Only vmlinuz images can draw at boot, which is not done yet."
    )
    var when: When = .build

    @Option(help: "How the file says its order: \(Encoding.allCases.map(\.rawValue).joined(separator: " or ")).")
    var encoding: Encoding = .segments

    @Option(help: ArgumentHelp("The seed: 64 hexadecimal digits.", valueName: "hex"))
    var seed: String?

    @Option(help: "A file that holds the seed as 64 hexadecimal digits.", completion: .file())
    var seedFile: String?

    @Option(help: "How many pages move together: \(Granule.allCases.map(\.rawValue).joined(separator: ", ")).")
    var granule: Granule = .page4K

    @Option(help: ArgumentHelp("Pages that must stay in their frames.", valueName: "pages"))
    var pin: [String] = []

    @Option(help: ArgumentHelp("Pages that must keep their neighbours.", valueName: "pages"))
    var glue: [String] = []

    @Flag(help: "Print the plan, every change with its reason, and write nothing.")
    var dryRun = false

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if when == .boot {
            throw ValidationError("--when boot: a vmlinux cannot draw at boot; it is drawn now (--when build)")
        }
        if seed != nil && seedFile != nil { throw ValidationError("give --seed or --seed-file, not both") }
        if output == nil && !dryRun { throw ValidationError("say where to write: -o FILE (or --dry-run)") }
    }

    private func makeSeed() throws -> Seed {
        do {
            if let seed { return try Seed.parse(hexadecimal: seed) }
            if let seedFile { return try Seed.parse(hexadecimal: readText(seedFile)) }
            return try Seed.random()
        } catch let error as SeedError {
            throw CommandFailure.input("\(seedFile.map { "\($0): " } ?? "--seed: ")\(error)")
        }
    }

    /// A seed file is short; whatever was read is wiped again.
    private func readText(_ path: String) throws -> String {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw CommandFailure.input("\(path): cannot open: \(unsafe String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        defer { for i in bytes.indices { bytes[i] = 0 } }
        var length = 0
        while length < bytes.count {
            let count = unsafe bytes.withUnsafeMutableBytes {
                unsafe read(descriptor, $0.baseAddress.map { unsafe $0 + length }, $0.count - length)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw CommandFailure.input("\(path): cannot read: \(unsafe String(cString: strerror(errno)))")
            }
            if count == 0 { return String(decoding: bytes[..<length], as: UTF8.self) }
            length += count
        }
        throw CommandFailure.input("\(path): too long for a seed")
    }

    func run() throws {
        let image = try openImage(image)
        guard !PermutedImage.isPermuted(image) else {
            throw CommandFailure.input("\(image.path): already permuted; kperm restore gives the original back")
        }
        var request = Request(
            encoding: encoding, granule: granule, seedSource: seed == nil && seedFile == nil ? "fresh" : "given")
        if !pin.isEmpty || !glue.isEmpty {
            let map = try attempt { () throws(RewriteError) in try KernelAnalysis.of(image) }.map
            let addresses = try Addresses(image)
            request.pins = try pin.map {
                Pin(pages: try addresses.pages($0, in: image, map), reason: "asked for", evidence: "--pin \($0)")
            }
            request.glue = try glue.map {
                Glue(pages: try addresses.pages($0, in: image, map), reason: "--glue \($0)")
            }
        }
        let seed = try makeSeed()
        let plan = try attempt { [request] () throws(RewriteError) in
            try RewritePlan.draw(image, request, seed: seed)
        }
        if !dryRun, let output {
            try attempt { () throws(RewriteError) in
                try plan.apply(to: output, from: image, tool: kpermVersion)
            }
        }
        if json {
            try printJSON(PlanReport(plan, complete: dryRun))
        } else {
            plan.printSummary(complete: dryRun)
            if !dryRun, let output { print("written: \(output)") }
        }
    }
}

/// A plan as JSON.
struct PlanReport: Encodable {
    struct ChangeReport: Encodable {
        let fileOffset: Int
        let address: String?
        let before: String
        let after: String
        let reason: String
        let evidence: String
    }

    let release: String?
    let architecture: String
    let encoding: String
    let granule: String
    let seed: String
    let pages: Int
    let counted: Int
    let pinned: Int
    let moved: Int
    let percentMoved: Double
    let keptNeighbours: Int
    let classes: [ClassReport]
    let changes: [ChangeReport]?
    let pins: [PinReport]?

    init(_ plan: RewritePlan, complete: Bool) {
        release = plan.analysis.release
        architecture = plan.analysis.architecture.name
        encoding = plan.request.encoding.rawValue
        granule = plan.request.granule.rawValue
        seed = plan.request.seedSource
        pages = plan.analysis.map.pageCount
        counted = plan.analysis.countedPages
        pinned = plan.analysis.pinnedPages
        moved = plan.movedPages
        percentMoved = plan.percentMoved
        keptNeighbours = plan.permutation.keptNeighbours
        classes = plan.analysis.classReports(moved: plan.permutation.forward)
        changes =
            complete
            ? plan.changes.map {
                ChangeReport(
                    fileOffset: $0.fileOffset, address: $0.address?.description, before: $0.before.hexadecimal,
                    after: $0.after.hexadecimal, reason: $0.reason, evidence: $0.evidence)
            } : nil
        pins = complete ? (plan.analysis.pins + plan.request.pins).map { PinReport($0) } : nil
    }
}

extension RewritePlan {
    func printSummary(complete: Bool) {
        print("kernel:    \(analysis.release ?? "unnamed") (\(analysis.architecture.name))")
        print(
            "moved:     \(movedPages) of \(analysis.countedPages) counted pages (\(percentMoved.oneDecimal) %), "
                + "\(analysis.pinnedPages) pinned, granule \(request.granule.rawValue)")
        print("encoding:  \(request.encoding.rawValue), seed \(request.seedSource)")
        print("changes:   \(changes.count) besides the order")
        for change in changes {
            let place = change.address.map(\.description) ?? "byte \(change.fileOffset)"
            print("  \(place): \(change.after.count) bytes: \(change.reason)")
            if complete {
                print("    evidence: \(change.evidence)")
                if change.after.count <= 16 {
                    print("    \(change.before.hexadecimal) -> \(change.after.hexadecimal)")
                }
            }
        }
        for remark in baked.remarks { print("note:      \(remark)") }
        if complete {
            print("pins:")
            for pin in analysis.pins + request.pins {
                print("  pages \(pin.pages.lowerBound)-\(pin.pages.upperBound - 1): \(pin.reason) [\(pin.evidence)]")
            }
        }
    }
}
