// SPDX-License-Identifier: MIT

import Addressing
public import ArgumentParser
import Glibc
public import GuestCheck
import KernelImage
import KernelRewrite
import PagePermutation

struct Boot: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "boot",
        abstract: "Boot an image in QEMU and check every page from outside the guest.",
        discussion: """
            Starts QEMU without hardware acceleration and looks into the guest's memory twice, walking its page \
            tables from CR3 (on riscv64 satp, in the mode it says): right after the boot stub (every page, every byte), and in userspace (the mapping of \
            text, rodata, data and bss, the bytes of text and rodata but for what the kernel patches itself, and who \
            may write them). Between the two the guest exercises its kernel: ftrace on all functions, a kprobe, \
            modules, virtio-blk and virtio-net compared by hash, CPUs taken away and brought back, sleep, KVM, BPF and \
            perf, the kernel's own tests. What a kernel lacks is reported as skipped.

            --exercise hibernation has it hibernate, restart with another order, and resume. --exercise crash has a \
            vmlinuz crash: a crash kernel (the image again) writes a dump, whose text is held against the live table. \
            --exercise full does both, and the kernel's own test of BPF.

            A vmlinuz boots with KASLR: its place, and the order that its boot stub drew, are found in the guest's memory.

            A flat riscv64 Image is judged where its first function begins and in userspace; what it draws must be a \
            permutation that its classes allow, and the one that a kperm.seed= given with --append draws.

            Modules must be of the kernel's own release: --modules DIR, else the system's, else the exercise is a \
            reduced one, and says so. Images that are not permuted boot, too: then every page must be in its own frame.

            A kernel whose pages cross classes is compared with the one that it was made of, which is booted first, in \
            the same way: each page must have the same rights at its own address, and the frame that holds it in the \
            linear map.

            With --kexec QEMU starts another vmlinuz, which then starts this one by kexec_file_load; the seed that a \
            kernel hands over so must have gone into the order drawn.

            With --audit the kernel notes each address that it translates, in memory that is read from outside: which \
            instruction, which object, how often. Each entry ends as pinned, as staying by nature, as explained by a rule, or \
            as open. Places that cannot be observed are counted. The image is made for this boot only. Where translations \
            ask the table (--rewrite), the frame that comes out is noted, too, and each that is not the page's is wrong.

            Exit status 1 when anything fails, with the log kept, or a translation is open.

              kperm boot vmlinux.kperm --modules /lib/modules/6.1.0-50-cloud-amd64
              kperm boot vmlinux.kperm --repeat 20
              kperm boot vmlinuz.kperm --kexec vmlinuz
              kperm boot Image.kperm --initramfs initramfs.cpio.gz --mode sv48
            """)

    @Argument(help: "A permuted image, or a stock one.", completion: .file())
    var image: String

    @Option(help: "Boot so many fresh permutations of the image instead of its own.")
    var `repeat`: Int?

    @Option(help: "Modules of the kernel's release.", completion: .directory)
    var modules: String?

    @Option(
        help: "For a flat riscv64 Image: a userspace that exercises the kernel (tools/build-riscv64 makes one).",
        completion: .file())
    var initramfs: String?

    @Option(help: ArgumentHelp("Guest memory (512; 1024 for the full exercise).", valueName: "MiB"))
    var memory: Int?

    @Option(help: "Guest CPUs.")
    var cpus = GuestOptions().cpus

    @Option(help: "QEMU's CPU model (max; of a riscv64 machine rv64).")
    var cpu: String?

    @Option(
        help: """
            The paging mode that a riscv64 kernel must run in: \(PagingMode.allCases.map(\.rawValue).joined(separator: ", ")). \
            Narrower ones than the CPU's are asked for by no5lvl and no4lvl on its command line.
            """)
    var mode: PagingMode?

    @Option(help: "The firmware of the machine: \(FirmwareChoice.allCases.map(\.rawValue).joined(separator: " or ")).")
    var firmware: FirmwareChoice = .seabios

    @Option(help: "Have this vmlinuz start the image, a vmlinuz, by kexec.", completion: .file())
    var kexec: String?

    @Option(help: "How much the guest does: \(ExerciseExtent.allCases.map(\.rawValue).joined(separator: ", ")).")
    var exercise: ExerciseExtent = .usual

    @Option(help: ArgumentHelp("More for the kernel's command line.", valueName: "words"))
    var append: String = ""

    @Option(help: ArgumentHelp("How long a boot may take (180, with a longer exercise 900).", valueName: "seconds"))
    var timeout: Int?

    @Option(help: "Keep the console's log here.", completion: .file())
    var log: String?

    @Option(help: "The emulator (qemu-system-x86_64, qemu-system-riscv64).", completion: .file())
    var qemu: String?

    @Flag(
        help: """
            Boot a permutation of the image whose kernel notes each address that it translates, and list those of pages \
            that may move.
            """)
    var audit = false

    @Flag(
        help: """
            With --audit: have the translations ask a table, as permute --rewrite does, and hold every frame that comes out \
            against the page's. An image made with --rewrite needs no asking.
            """)
    var rewrite = false

    @Option(
        help: "With --audit: write devices' transfers that touch the image here, for `kperm simulate dma`.",
        completion: .file())
    var transfers: String?

    @Option(
        help: "With --audit: write the translation table of this boot here, in its binary form; it is a secret.",
        completion: .file())
    var table: String?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if let count = `repeat`, count < 1 { throw ValidationError("--repeat takes a number from 1 on") }
        if let memory, memory < 128 { throw ValidationError("--memory: a kernel needs 128 MiB at the least") }
        if cpus < 1 { throw ValidationError("--cpus takes a number from 1 on") }
        if let modules, unsafe access(modules, R_OK | X_OK) != 0 {
            throw ValidationError("--modules \(modules): no such directory")
        }
        if transfers != nil, !audit { throw ValidationError("--transfers goes with --audit") }
        if rewrite, !audit {
            throw ValidationError("--rewrite goes with --audit: for a kernel to use, kperm permute --rewrite")
        }
        if table != nil, !audit { throw ValidationError("--table goes with --audit") }
        if audit, `repeat` != nil || kexec != nil {
            throw ValidationError("--audit makes one image of its own: not with --repeat or --kexec")
        }
        if let timeout, timeout < 1 { throw ValidationError("--timeout takes a number of seconds from 1 on") }
    }

    private var options: GuestOptions {
        var options = GuestOptions()
        options.emulator = qemu
        // Half of it must be free to hibernate, and a crash kernel has set its part aside.
        options.memory = memory ?? (exercise == .full ? 1024 : options.memory)
        options.cpus = cpus
        options.cpuModel = cpu
        options.pagingMode = mode
        options.exercise = exercise
        options.timeout = timeout ?? (exercise == .usual ? options.timeout : 900)
        options.modulesDirectory = modules
        options.logPath = log
        options.extraCommandLine = append
        options.kexecFrom = kexec
        options.watchesTransfers = audit
        if firmware == .uefi { options.firmware = .ovmf }
        return options
    }

    func run() async throws {
        if try isFlat(image) { return try await runFlat() }
        guard initramfs == nil else {
            throw CommandFailure.input("\(image): not a flat Image: its initramfs is made for it (--initramfs)")
        }
        if try isCompressed(image) { return try await runCompressed() }
        guard kexec == nil else {
            throw CommandFailure.input("\(image): not a vmlinuz: --kexec starts nothing else")
        }
        guard exercise != .crash else {
            throw CommandFailure.input("\(image): not a vmlinuz: a crash starts nothing else (--exercise crash)")
        }
        let stock = try openImage(image)
        try checkLog(stock.file)
        if audit { return try await runAudit(stock) }
        guard PermutedImage.isPermuted(stock) else {
            guard `repeat` == nil else {
                throw CommandFailure.input("\(image): not permuted: --repeat draws anew what kperm permute made")
            }
            let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.ofRunnable(stock) }
            try await check([try .of(stock, analysis)])
            return
        }
        let permuted = try attempt { [image] () throws(RewriteError) in try PermutedImage.open(image) }
        guard permuted.manifest.unbootable != true else {
            throw CommandFailure.input("\(image): made with --unbootable: nothing in this kernel reads its table")
        }
        let original = try attempt { () throws(RewriteError) in try permuted.original() }
        let scratch = try Scratch()
        let rights = try await permuted.manifest.crossClass == true ? rightsOfOriginal(permuted, scratch) : nil
        guard let count = `repeat` else {
            var expectation = try GuestExpectation.of(image, permuted, original)
            expectation.originalRights = rights
            try await check([expectation])
            return
        }
        let translations = try translations(permuted, original)
        var results: [GuestResult] = []
        for run in 1...count {
            progress("boot \(run) of \(count)")
            let fresh = "\(scratch.path)/image"
            try attempt { () throws(RewriteError) in
                try RewritePlan.draw(original, permuted.freshRequest(), rewriting: translations)
                    .apply(to: fresh, from: original, tool: kpermVersion)
            }
            let drawn = try attempt { () throws(RewriteError) in try PermutedImage.open(fresh) }
            var expectation = try GuestExpectation.of(fresh, drawn, original)
            expectation.originalRights = rights
            results.append(try await boot(expectation))
            if !json { report(results[run - 1], title: "boot \(run) of \(count)") }
        }
        try finish(results)
    }

    /// What the kernel that an image was made of gives rights to, booted the same way.
    private func rightsOfOriginal(
        _ permuted: borrowing PermutedImage, _ scratch: borrowing Scratch
    ) async throws -> PageRights {
        progress("booting the original")
        let path = "\(scratch.path)/image"
        try attempt { () throws(RewriteError) in try permuted.restore(to: path) }
        let stock = try openImage(path)
        let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.ofRunnable(stock) }
        let result = try await boot(.of(stock, analysis))
        guard result.passed, let rights = result.rights else {
            if !json { report(result, title: "the original") }
            try finish([result])
            throw CommandFailure.check("\(image): the original does not protect itself: nothing to compare with")
        }
        return rights
    }

    private func runCompressed() async throws {
        let kernel = try attempt { [image] () throws(RewriteError) in try CompressedKernel.open(image) }
        try checkLog(kernel.container.file)
        if let kexec, try !isCompressed(kexec) {
            throw CommandFailure.input("\(kexec): not a vmlinuz, which --kexec takes")
        }
        if audit { return try await runAudit(kernel) }
        let isPermuted = try attempt { () throws(RewriteError) in try kernel.manifest() } != nil
        guard isPermuted || `repeat` == nil else {
            throw CommandFailure.input("\(image): not permuted: --repeat is for what kperm permute made")
        }
        let expectation = try LiveExpectation(kernel).expectation(
            isPermuted: isPermuted, isOff: append.split(separator: " ").contains("kperm=off"))
        var results: [GuestResult] = []
        for run in 1...(`repeat` ?? 1) {
            if let count = `repeat` { progress("boot \(run) of \(count)") }
            results.append(try await boot(expectation))
            if !json { report(results[run - 1], title: `repeat`.map { "boot \(run) of \($0)" }) }
        }
        try finish(results)
    }

    /// QEMU writes the log: never over the image, nor into what cannot be read back.
    func checkLog(_ image: borrowing MappedFile) throws {
        var target = stat()
        var source = stat()
        var stock = stat()
        guard let log, unsafe stat(log, &target) == 0 else { return }
        guard target.st_mode & S_IFMT == S_IFREG else {
            throw CommandFailure.input("\(log): exists and is not a regular file")
        }
        func isTarget(_ input: stat) -> Bool { input.st_dev == target.st_dev && input.st_ino == target.st_ino }
        let isImage = unsafe fstat(image.descriptor, &source) == 0 && isTarget(source)
        let isStarter = kexec.map { unsafe stat($0, &stock) == 0 && isTarget(stock) } ?? false
        if isImage || isStarter {
            throw CommandFailure.input("\(log): is the input: kperm never writes its input; give another name")
        }
    }

    private func check(_ expectations: [GuestExpectation]) async throws {
        var results: [GuestResult] = []
        for expectation in expectations {
            results.append(try await boot(expectation))
            if !json, let last = results.last { report(last, title: nil) }
        }
        try finish(results)
    }

    func boot(_ expectation: GuestExpectation) async throws -> GuestResult {
        if exercise != .usual, expectation.userspace == .selfChecking {
            throw CommandFailure.input("\(image): not Linux: it has no exercise but its own (--exercise \(exercise))")
        }
        if mode != nil, expectation.machine != .virt {
            throw CommandFailure.input("\(image): not a riscv64 kernel: it has no other paging modes (--mode)")
        }
        if firmware == .uefi, expectation.machine != .pc {
            throw CommandFailure.input("\(image): not an x86-64 kernel: its firmware is OpenSBI (--firmware uefi)")
        }
        do {
            return try await checkGuest(expectation, options: options) { progress("  \($0)") }
        } catch {
            throw CommandFailure.input("\(error)")
        }
    }

    func finish(_ results: [GuestResult]) throws {
        let failed = results.count { !$0.passed }
        if json {
            if `repeat` == nil, let only = results.first {
                try printJSON(BootReport(only))
            } else {
                try printJSON(results.map { BootReport($0) })
            }
        } else if `repeat` != nil {
            print("\(results.count - failed) of \(results.count) permutations passed")
        }
        if failed > 0 {
            let log = results.first { !$0.passed }?.logPath
            throw CommandFailure.check(
                "\(image): \(failed) of \(results.count) boots failed" + (log.map { "; the log is kept: \($0)" } ?? ""))
        }
    }

    func report(_ result: GuestResult, title: String?) {
        if let title { print(title) }
        for look in result.looks {
            print(
                "  \(look.name): \(look.mappedPages) mappings and the bytes of \(look.comparedPages) pages checked, "
                    + "\(look.movedPages) moved, \(look.unexplainedBytes) bytes wrong")
        }
        for check in result.checks {
            print("  \(check.outcome.rawValue) \(check.name): \(check.detail)")
            for example in check.examples { print("       \(example)") }
        }
        if let reason = result.reducedBecause { print("  reduced exercise: \(reason)") }
        let seconds = "\(result.seconds.oneDecimal) s"
        print(result.passed ? "  passed in \(seconds)" : "  FAILED in \(seconds)")
    }
}

extension ExerciseExtent: ExpressibleByArgument {}
extension PagingMode: ExpressibleByArgument {}

enum FirmwareChoice: String, CaseIterable, ExpressibleByArgument {
    case seabios
    case uefi
}

extension KernelAnalysis {
    /// What is demanded of each page of the image.
    var pageKinds: [PageKind] {
        var kinds = map.entries.map { $0.isGap ? PageKind.unmapped : .other }
        let kindOf: [String: PageKind] = [
            "text": .text, "rodata": .rodata, "data": .data, "bss": .bss, "init": .initMemory,
        ]
        for pageClass in classes {
            for page in pageClass.ranges.joined() { kinds[page] = kindOf[pageClass.name] ?? .other }
        }
        return kinds
    }
}

/// A boot as JSON.
struct BootReport: Encodable {
    struct Check: Encodable {
        let name: String
        let result: String
        let detail: String
        let examples: [String]
    }

    let passed: Bool
    let seconds: Double
    let checks: [Check]
    let looks: [GuestResult.Look]
    let reducedBecause: String?
    let logPath: String?

    init(_ result: GuestResult) {
        passed = result.passed
        seconds = result.seconds
        checks = result.checks.map {
            Check(name: $0.name, result: $0.outcome.rawValue, detail: $0.detail, examples: $0.examples)
        }
        looks = result.looks
        reducedBecause = result.reducedBecause
        logPath = result.logPath
    }
}

/// A directory of our own that goes when we do.
@safe
struct Scratch: ~Copyable {
    let path: String

    init() throws {
        let base = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/kperm-boot-XXXXXX".utf8CString)
        guard let made = unsafe mkdtemp(&template) else {
            throw CommandFailure.input("\(base): cannot make a directory: \(unsafe String(cString: strerror(errno)))")
        }
        path = unsafe String(cString: made)
    }

    deinit {
        unsafe unlink("\(path)/image")
        unsafe rmdir(path)
    }
}
