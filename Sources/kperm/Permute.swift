// SPDX-License-Identifier: MIT

import Addressing
public import ArgumentParser
import FoundationEssentials
import Glibc
import HazardAudit
import KernelImage
public import KernelRewrite
public import PagePermutation
import SecureRandom

extension Encoding: ExpressibleByArgument {}
extension Granule: ExpressibleByArgument {}

extension When: ExpressibleByArgument {}

/// How far the kernel is searched for what must stay.
enum AuditExtent: String, CaseIterable, Codable, ExpressibleByArgument {
    case constants, full, off
}

struct Permute: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "permute",
        abstract: "Give a kernel image a random order of its physical page frames.",
        discussion: """
            IMAGE is an x86-64 kernel: a vmlinuz as distributions ship it, with nothing else, or a vmlinux with \
            symbols. Nothing is written when the kernel is not one that kperm can permute safely.

            A vmlinuz draws a fresh permutation at every boot (--when boot), KASLR stays as it is. On the kernel's \
            command line kperm.seed=HEX repeats a permutation, kperm=off boots without one, kperm=require halts \
            rather than boot without one.

            Of a vmlinux, and with --when build, the tool draws. The seed decides the permutation and is a secret, as \
            is the output then (mode 0600). Without --seed or --seed-file a fresh one comes from the operating system \
            and is not kept.

            --audit says how far the kernel is searched for what it addresses physically:
            constants (the default): what runs or is used before the new mapping is live, page tables, and every \
            object whose physical address stands in the image or is computed from a constant. Takes milliseconds.
            full: this, and all that `kperm audit` finds: constants it alone can follow, and objects that get to \
            devices; each is pinned, or glued where page tables are asked for each page. Takes seconds, once: the \
            result is kept in $KPERM_CACHE (~/.cache/kperm), by the contents of the image.
            off: leaves out the pins of objects whose addresses code computes (page tables that the kernel installs \
            later, strings for firmware). Such a kernel boots, and goes wrong when it uses one of them: for \
            experiments only.

            --rewrite has the kernel ask a table for the physical addresses of its image, at every place where its code \
            adds the offset between virtual and physical addresses to an address and an instruction can give way to a \
            jump. In a vmlinuz the boot stub fills the table in. A page that is pinned for its physical address moves then, \
            if all who use that address are known to ask; --dry-run lists these pages with who asks.

            --no-rewrite (the default) leaves the kernel's own arithmetic alone: pages move within their classes, and what \
            the kernel addresses physically is pinned.

            --modules names the kernel's modules, a directory: with --rewrite, all of it is written again, and those \
            that translate addresses ask the kernel's table, at the distance from phys_base that this kernel has. The \
            version of phys_base tells kernel and modules apart from others: modules that translate and were not rewritten \
            for this kernel are refused by it, and those that were by every other.

            --cross-class, with --rewrite, lets pages of text, constants and data trade places, and all others: a class \
            is then as large as the kernel. Wherever the kernel goes by ranges of frames it has to ask what lies in a \
            frame; kperm finds these places, and refuses a kernel in which it does not know one.

            --constraints takes what `kperm audit IMAGE --json` prints, or its `constraints` alone: lists `pins` and \
            `glue` of objects whose `pages` say what --pin and --glue would.

            A 32-bit vmlinux (Arm, RISC-V) needs --unbootable: its pages move and the table lies behind them, but \
            nothing in the kernel reads it. verify, restore, translate and table work on it, boot refuses it.

            Pages can be named as SYMBOL, SYMBOL+OFFSET, 0xADDRESS, FROM..TO, page:N or page:N-M.

              kperm permute /boot/vmlinuz-6.1.0-50-amd64 -o vmlinuz.kperm
              kperm permute vmlinux -o vmlinux.kperm
              kperm permute vmlinux -o out --encoding contents --granule 16K
              kperm permute vmlinux -o out --pin my_table --glue dma_buffer --dry-run
              kperm permute vmlinuz -o vmlinuz.kperm --audit full
              kperm permute vmlinux-armhf -o out --unbootable
            """)

    @Argument(help: "The kernel image: a vmlinuz, or an ELF vmlinux with symbols.", completion: .file())
    var image: String

    @Option(name: .shortAndLong, help: "Where to write the permuted image.", completion: .file())
    var output: String?

    @Option(
        help: ArgumentHelp(
            "When the permutation is drawn: boot (by a vmlinuz, at every boot), or build (now). (default: boot for a "
                + "vmlinuz, build for a vmlinux)"))
    var when: When?

    @Option(
        help: ArgumentHelp(
            "How a vmlinux says its order: \(Encoding.allCases.map(\.rawValue).joined(separator: " or ")). "
                + "(default: segments)"))
    var encoding: Encoding?

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

    @Option(help: "Pins and glue as `kperm audit --json` prints them.", completion: .file())
    var constraints: [String] = []

    @Option(help: "What is looked for: \(AuditExtent.allCases.map(\.rawValue).joined(separator: ", ")).")
    var audit: AuditExtent = .constants

    @Flag(inversion: .prefixedNo, help: "Have translations of addresses ask a table, where that can be.")
    var rewrite = false

    @OptionGroup var moduleArguments: ModuleArguments

    @Option(
        help: "Sign a vmlinuz for Secure Boot with this key (PEM), by sbsign, and modules, by openssl.",
        completion: .file())
    var signKey: String?

    @Option(help: "The certificate of --sign-key (PEM).", completion: .file())
    var signCert: String?

    @Flag(help: "Permute a kernel that will not boot: a 32-bit one (ELF32).")
    var unbootable = false

    @Flag(
        help: """
            Let pages trade places across classes (a riscv64 Image with the table in virt_to_phys, or a vmlinux with \
            --rewrite).
            """)
    var crossClass = false

    @Flag(help: "Print the plan, every change with its reason, and write nothing.")
    var dryRun = false

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if (signKey == nil) != (signCert == nil) { throw ValidationError("--sign-key and --sign-cert go together") }
        if seed != nil && seedFile != nil { throw ValidationError("give --seed or --seed-file, not both") }
        if when == .boot, seed != nil || seedFile != nil {
            throw ValidationError(
                "a seed is for --when build; kperm.seed= on the kernel's command line is for one boot")
        }
        if moduleArguments.modules != nil, !rewrite {
            throw ValidationError("--modules is for --rewrite: other kernels take their modules as they are")
        }
        if moduleArguments.modulesOutput != nil, moduleArguments.modules == nil {
            throw ValidationError("--modules-output is for --modules")
        }
        if output == nil && !dryRun { throw ValidationError("say where to write: -o FILE (or --dry-run)") }
    }

    func makeSeed() throws -> Seed {
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
        if try isFlat(image) { return try permuteFlat() }
        let compressed = try isCompressed(image)
        guard !crossClass || !compressed && rewrite else {
            throw CommandFailure.input(
                "\(image): --cross-class is for a riscv64 Image with the table in virt_to_phys, or for a vmlinux with "
                    + "--rewrite; this kernel needs its classes")
        }
        if compressed { return try permuteCompressed() }
        guard signingKey == nil || moduleArguments.modules != nil else {
            throw CommandFailure.input("\(image): a vmlinux is not signed; --sign-key is for a vmlinuz")
        }
        guard when != .boot else {
            throw CommandFailure.input("\(image): a vmlinux cannot draw at boot: use --when build, or give the vmlinuz")
        }
        let image = try openImage(image)
        guard !PermutedImage.isPermuted(image) else {
            throw CommandFailure.input("\(image.path): already permuted; kperm restore gives the original back")
        }
        try checkBootable(image)
        let request = try request(for: image, seedSource)
        let seed = try makeSeed()
        let users = rewrite ? try tableUsers(of: image, crossesClasses: crossClass) : nil
        let plan = try attempt { () throws(RewriteError) in
            try RewritePlan.draw(image, request, seed: seed, rewriting: users?.translations)
        }
        let lookups = users.flatMap { users in plan.rewriting.map { RewriteReport(users.sites, $0, plan.analysis) } }
        let modules = try modules(plan.rewriting, plan.analysis.release)
        if !dryRun, let output {
            try attempt { () throws(RewriteError) in
                try plan.apply(to: output, from: image, tool: kpermVersion)
            }
        }
        if json {
            try printJSON(PlanReport(plan, complete: dryRun, lookups, modules))
        } else {
            try plan.printSummary(complete: dryRun)
            lookups?.print(complete: dryRun)
            modules?.print(complete: dryRun)
            CrossClassReport(plan)?.print(complete: dryRun)
            printRemarks()
            if !dryRun, let output { print("written: \(output)") }
        }
    }

    /// An image that does not boot is made on demand only, and with nothing asked for that it cannot have.
    private func checkBootable(_ image: borrowing KernelImage) throws {
        let isBootable = try attempt { () throws(RewriteError) in try Architecture.isBootable(image) }
        if isBootable, unbootable {
            throw CommandFailure.input("\(image.path): boots when it is permuted: leave --unbootable out")
        }
        guard !isBootable else { return }
        guard unbootable else {
            throw CommandFailure.input(
                "\(image.path): a 32-bit kernel does not boot when its pages are moved: --unbootable writes it all the "
                    + "same, to be verified, restored and looked at")
        }
        guard audit == .constants else {
            throw CommandFailure.input(
                "\(image.path): --audit \(audit.rawValue): the code of a 32-bit kernel is not followed")
        }
    }

    private func permuteCompressed() throws {
        guard !unbootable else {
            throw CommandFailure.input("\(image): boots when it is permuted: leave --unbootable out")
        }
        guard encoding == nil else {
            throw CommandFailure.input(
                "\(image): --encoding is for a vmlinux; a vmlinuz moves its pages while it starts")
        }
        let kernel = try attempt { [image] () throws(RewriteError) in try CompressedKernel.open(image) }
        guard try attempt({ () throws(RewriteError) in try kernel.manifest() }) == nil else {
            throw CommandFailure.input("\(image): already permuted; permute the original")
        }
        let when = when ?? (seed == nil && seedFile == nil ? .boot : .build)
        let request = try request(for: kernel.kernel, when == .boot ? "boot" : seedSource)
        let seed = when == .build ? try makeSeed() : nil
        let sites = rewrite ? try translationSites(of: kernel.kernel) : nil
        let plan = try attempt { [translations = sites?.translations] () throws(RewriteError) in
            try BootPlan.make(kernel, request, seed: seed, tool: kpermVersion, rewriting: translations)
        }
        let lookups = sites.flatMap { sites in plan.rewriting.map { RewriteReport(sites, $0, plan.analysis) } }
        let modules = try modules(plan.rewriting, plan.analysis.release)
        if !dryRun, let output {
            progress("compressing")
            var image = try attempt { () throws(RewriteError) in try plan.image(from: kernel) }
            if let signingKey { image = try signingKey.signed(image) }
            try attempt { [image] () throws(RewriteError) in try plan.write(image, to: output, from: kernel) }
        }
        if json {
            try printJSON(BootPlanReport(plan, complete: dryRun, lookups, modules))
        } else {
            try plan.printSummary(complete: dryRun)
            lookups?.print(complete: dryRun)
            modules?.print(complete: dryRun)
            printRemarks()
            if kernel.container.isSigned, signingKey == nil {
                print("note:      its signature no longer holds: for Secure Boot give --sign-key and --sign-cert")
            }
            if !dryRun, let output { print("written:   \(output)") }
        }
    }

    /// Rewrites the kernel's modules, when asked to.
    private func modules(_ rewriting: Rewriting?, _ release: String?) throws -> ModulesReport? {
        guard let directory = moduleArguments.modules, let rewriting else { return nil }
        let tree = ModuleTree(
            directory: directory, release: release, lookups: rewriting.lookups, key: signingKey)
        return try tree.rewrite(to: dryRun ? nil : moduleArguments.destination(output))
    }

    private var signingKey: SigningKey? {
        if let signKey, let signCert { SigningKey(key: signKey, certificate: signCert) } else { nil }
    }

    private var seedSource: String { seed == nil && seedFile == nil ? "fresh" : "given" }

    private func request(for image: borrowing KernelImage, _ seedSource: String) throws -> Request {
        var request = Request(
            encoding: encoding ?? .segments, granule: granule, leavesOutTranslated: audit == .off,
            seedSource: seedSource, rewrites: rewrite, crossesClasses: crossClass)
        var asked = try constraints.map { (source: "--constraints \($0)", all: try AuditConstraints.read($0)) }
        if audit == .full { asked.append(("--audit full", try fullAudit(image))) }
        request.bindsModules = moduleArguments.modules != nil
        if pin.isEmpty && glue.isEmpty && asked.allSatisfy(\.all.isEmpty) { return request }
        let map = try attempt { () throws(RewriteError) in try KernelAnalysis.of(image) }.map
        let addresses = try Addresses(image)
        try request.demand(pins: pin, glue: glue, by: addresses, in: image, map)
        for (source, all) in asked {
            for one in all.pins {
                let pin = Pin(
                    pages: try addresses.pages(one.pages, in: image, map),
                    reason: [one.object, one.reason ?? "asked for"].compactMap { $0 }.joined(separator: ": "),
                    evidence: one.evidence ?? source)
                if !request.pins.contains(pin) { request.pins.append(pin) }
            }
            for one in all.glue {
                let why = [one.object, one.reason, one.evidence].compactMap { $0 }
                let glue = Glue(
                    pages: try addresses.pages(one.pages, in: image, map),
                    reason: why.isEmpty ? source : why.joined(separator: ": "))
                if !request.glue.contains(glue) { request.glue.append(glue) }
            }
        }
        return request
    }

    /// What a full audit asks for, as it was found earlier, or now.
    private func fullAudit(_ image: borrowing KernelImage) throws -> AuditConstraints {
        let cache = AuditCache(image)
        if let known = cache.stored() { return known }
        progress("\(image.path): following the code")
        let subject = try attempt { () throws(RewriteError) in try AuditSubject.kernel(image) }
        let sites = TranslationSites(subject)
        let flows = DataFlows(subject, as: .image)
        let found = try attempt { () throws(RewriteError) in try AuditConstraints(subject, sites, flows) }
        cache.store(found)
        return found
    }

    private func printRemarks() {
        if audit == .off {
            print(
                "note:      --audit off: objects whose physical addresses code computes may move; the kernel goes wrong "
                    + "when it uses one")
        }
    }
}

/// A plan as JSON.
struct PlanReport: Encodable {

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
    let entropy: EntropyReport
    /// Whether pins were left out (--audit off).
    let leavesOutTranslated: Bool
    /// With --rewrite.
    let lookups: RewriteReport?
    /// With --modules.
    let modules: ModulesReport?
    /// With --cross-class.
    let crossing: CrossClassReport?

    init(
        _ plan: RewritePlan, complete: Bool, _ lookups: RewriteReport? = nil, _ modules: ModulesReport? = nil
    ) throws {
        self.lookups = lookups
        self.modules = modules
        crossing = CrossClassReport(plan)
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
        changes = complete ? plan.changes.map { ChangeReport($0) } : nil
        entropy = try EntropyReport(plan.problem, plan.analysis, plan.request, complete: complete)
        leavesOutTranslated = plan.request.leavesOutTranslated
    }
}

extension RewritePlan {
    func printSummary(complete: Bool) throws {
        print("kernel:    \(analysis.release ?? "unnamed") (\(analysis.architecture.name))")
        print(
            "moved:     \(movedPages) of \(analysis.countedPages) counted pages (\(percentMoved.oneDecimal) %), "
                + "\(analysis.pinnedPages) pinned, granule \(request.granule.rawValue)"
                + (request.crossesClasses ? ", across classes" : ""))
        print("encoding:  \(request.encoding.rawValue), seed \(request.seedSource)")
        printChanges(changes, complete: complete)
        for remark in baked.remarks { print("note:      \(remark)") }
        if complete { try EntropyReport(problem, analysis, request, complete: true).print() }
    }
}

/// A changed place as JSON.
struct ChangeReport: Encodable {
    let fileOffset: Int
    let address: String?
    let before: String
    let after: String
    let reason: String
    let evidence: String

    init(_ change: Change) {
        fileOffset = change.fileOffset
        address = change.address?.description
        before = change.before.hexadecimal
        after = change.after.hexadecimal
        reason = change.reason
        evidence = change.evidence
    }
}

/// Changes made for one reason at many places are counted, unless all is wanted.
func printChanges(_ changes: [Change], complete: Bool) {
    print("changes:   \(changes.count) besides the order")
    let counts = Dictionary(grouping: changes, by: \.reason).mapValues(\.count)
    var counted: Set<String> = []
    for change in changes {
        if !complete, let count = counts[change.reason], count > 8 {
            if counted.insert(change.reason).inserted { print("  \(count) places: \(change.reason)") }
            continue
        }
        let place = change.address.map(\.description) ?? "byte \(change.fileOffset)"
        print("  \(place): \(change.after.count) bytes: \(change.reason)")
        guard complete else { continue }
        print("    evidence: \(change.evidence)")
        if change.after.count <= 16 { print("    \(change.before.hexadecimal) -> \(change.after.hexadecimal)") }
    }
}
