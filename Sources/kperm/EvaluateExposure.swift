// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import GuestCheck
import KernelImage
import KernelRewrite
import PagePermutation
import SecureRandom

struct EvaluateExposure: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exposure",
        abstract: "What a running kernel and its files tell of the permutation, and to whom.",
        discussion: """
            Boots the image in QEMU and has the guest read files, once as a user without any right and once as \
            root: every one of /proc and /sys (debugfs and tracefs are mounted; of processes the reader itself, 1 and 2), \
            the kernel's log, /dev/mem, /proc/kcore. What was read is searched for the table, which is found from outside, in \
            these forms: numbers of frames or pages, physical addresses, entries of page tables, differences of addresses, as \
            words and as text; a line that names an address of the image and the place of its page; a seed.

            A column each says what a user and what root learns: closed (nothing there can be read), nothing, the frames of \
            so many pages, the seed. "Where the image begins" is KASLR's secret (a vmlinux has none), and does not help against a permutation. \
            Root reads the kernel's memory by /proc/kcore, so root finds the table; lockdown=confidentiality closes it.

            Then the page tables are walked from outside: no page of text or read-only data may be writable or executable \
            at any address but its own, in the linear map above all. A stock image shows the same of a kernel that did not \
            move. The image's own file must be its owner's alone if it holds an order or a seed.

            This is about files, and about these forms. An attacker who runs code may learn places in other ways: by timing \
            caches and translation buffers, say, or by other system calls (ioctl, bpf, perf), none of which is tried here.

            A seed that was given is looked for in all of memory. The stub wipes its own copies; of a vmlinuz made with \
            --when build the compressed file may leave the seed in memory that is free, until that is used again.

            Exit status 1 when a user is told of the permutation, when a mapping is too wide, or when others may read a file \
            that holds the order.

              kperm evaluate exposure vmlinuz.kperm
              kperm evaluate exposure vmlinux.kperm --boots 3 --json
              kperm evaluate exposure vmlinuz.kperm --append kperm.seed=$(openssl rand -hex 32)
            """)

    @Argument(help: "A permuted image, or a stock one.", completion: .file())
    var image: String

    @Option(help: "Boot so many times.")
    var boots = 1

    @OptionGroup var guest: GuestArguments

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if boots < 1 { throw ValidationError("--boots takes a number from 1 on") }
    }

    func run() async throws {
        if try isCompressed(image) { return try await runCompressed() }
        let stock = try openImage(image)
        let mode = UInt16(truncatingIfNeeded: stock.file.mode)
        guard PermutedImage.isPermuted(stock) else {
            let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.ofRunnable(stock) }
            let file = ExposureReport.File(mode: mode, holds: .nothing)
            return try await expose(.of(stock, analysis), file, seeds: [])
        }
        let permuted = try attempt { [image] () throws(RewriteError) in try PermutedImage.open(image) }
        let original = try attempt { () throws(RewriteError) in try permuted.original() }
        let file = ExposureReport.File(mode: mode, holds: .order)
        try await expose(.of(image, permuted, original), file, seeds: [])
    }

    private func runCompressed() async throws {
        let kernel = try attempt { [image] () throws(RewriteError) in try CompressedKernel.open(image) }
        let isPermuted = try attempt { () throws(RewriteError) in try kernel.manifest() } != nil
        let seed = try attempt { () throws(RewriteError) in try kernel.seed() }
        let file = ExposureReport.File(
            mode: UInt16(truncatingIfNeeded: kernel.container.file.mode), holds: seed == nil ? .nothing : .seed)
        let expectation = try LiveExpectation(kernel).expectation(isPermuted: isPermuted, isOff: false)
        try await expose(expectation, file, seeds: [seed, seedOnCommandLine].compactMap { $0 })
    }

    /// The one that the stub takes: the last, if it is well-formed.
    private var seedOnCommandLine: [UInt8]? {
        let words = guest.append.split(separator: " ").prefix { $0 != "--" }
        guard let word = words.last(where: { $0.hasPrefix("kperm.seed=") }) else { return nil }
        return try? Seed.parse(hexadecimal: word.dropFirst("kperm.seed=".count)).bytes
    }

    private func expose(
        _ expectation: GuestExpectation, _ file: ExposureReport.File, seeds: [[UInt8]]
    ) async throws {
        guard case .linux(let release?) = expectation.userspace else {
            throw CommandFailure.input("\(image): not Linux: it has no /proc to read")
        }
        var report = ExposureReport(image: image, release: release, file: file)
        if !json { report.introduce() }
        for number in 1...boots {
            progress("boot \(number) of \(boots)")
            do {
                let result = try await exposeGuest(expectation, seeds: seeds, options: guest.options) {
                    progress("  \($0)")
                }
                report.add(result)
                if !json { ExposureReport.print(result, number: number) }
            } catch {
                throw CommandFailure.input("boot \(number): \(error)")
            }
        }
        if json { try printJSON(report) } else { report.conclude() }
        if !report.problems.isEmpty {
            throw CommandFailure.check("\(image): \(report.problems.joined(separator: "; "))")
        }
    }
}
