// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import Glibc
import KernelImage
import KernelRewrite
import PagePermutation
import TranslationSimulator

struct SimulateDMA: ParsableCommand {
    enum Finding: String, ExpressibleByArgument, CaseIterable { case wrong }
    enum Reading: String, ExpressibleByArgument, CaseIterable { case image, untranslated }

    static let configuration = CommandConfiguration(
        commandName: "dma",
        abstract: "Show where a device goes that is given a start and a length in a permuted kernel.",
        discussion: """
            A driver that translates the address of a buffer once and hands a device the whole length (one segment) \
            is right as long as the frames behind the buffer's pages follow one another. Where they do not, the device \
            goes on into the frame of another page. For each transfer of a list: how many segments a correct mapping \
            needs, how many bytes one segment gets wrong, and the objects that it reads or overwrites instead.

            The first byte is taken as translated by the table. That is a kernel with a rewritten virt_to_phys; in a \
            stock kernel, whose virt_to_phys is linear, the first byte of a moved page goes astray, too: --as \
            untranslated.

            TRANSFERS is a text file (- for standard input), one transfer a line: an address or a symbol, a length in \
            bytes, and the direction as the device sees it: `to` it, `from` it, or both. What follows a # is a \
            comment. Numbers are decimal, or hexadecimal with 0x. Lines that are wrong are told and skipped.

              # the sector that the boot code reads
              sector_buffer       512     from
              inquiry_data+0x10   36      both
              0xffffffff82001f00  0x200   to

              kperm simulate dma vmlinux.kperm transfers.txt
              kperm boot vmlinuz --audit --transfers seen.txt --table table
              kperm simulate dma table seen.txt --symbols vmlinuz --as untranslated
              echo 'sector_buffer 512 from' | kperm simulate dma vmlinux.kperm -

            A list that `kperm boot` recorded holds frames, each at the address that a linear mapping has there, so \
            untranslated is what the device did. What is there is said by what the image had there: of memory that the \
            kernel has freed since, which the list says behind the #, no transfer is wrong.

            Memory outside the image is taken as linear, as the heap is: a transfer there needs one segment, and is \
            said to be outside. (Memory of modules is not linear, permuted or not; this command knows nothing of it.)

            OUT may also be a table in any form that `kperm table` writes; of a vmlinuz, whose table is in the running \
            kernel only, that is the only way. Names then come from --symbols:

              kperm table --from-memory ram --format bin -o table
              kperm simulate dma table transfers.txt --symbols vmlinuz

            Exit status: 0, whatever was found; with --fail-on wrong 1 when a transfer is wrong; 2 when there is no \
            transfer to look at.
            """)

    @Argument(help: "A permuted image, or a translation table as `kperm table` writes it.", completion: .file())
    var out: String

    @Argument(help: "The list of transfers; - for standard input.", completion: .file())
    var transfers: String

    @Option(help: "Take names from this image: the original of OUT, a vmlinux or a vmlinuz.", completion: .file())
    var symbols: String?

    @Option(
        name: .customLong("as"),
        help: ArgumentHelp(
            "Take the kernel as one that translates by the table (image), or linearly (untranslated).",
            valueName: "reading"))
    var reading: Reading = .image

    @Option(help: ArgumentHelp("List so many runs and wrong places of a transfer.", valueName: "count"))
    var limit = 8

    @Option(help: ArgumentHelp("Exit with status 1 when a transfer is wrong.", valueName: "finding"))
    var failOn: Finding?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if limit < 1 { throw ValidationError("--limit takes a number from 1 on") }
    }

    func run() throws {
        let text = try readAll(transfers)
        let list = TransferList(parsing: text)
        let (table, names) = try open()
        guard let engine = DMAEngine(table, start: reading == .image ? .table : .linear) else {
            throw CommandFailure.input("\(out): the table's addresses are not those of whole pages")
        }
        let resolved = list.resolved(names.places(of: list.symbols))
        for problem in resolved.problems.prefix(Self.shownProblems) {
            printError("kperm: \(listName):\(problem.line): \(problem.what)")
        }
        if resolved.problems.count > Self.shownProblems {
            printError("kperm: \(listName): \(resolved.problems.count - Self.shownProblems) more lines like these")
        }
        if !names.isKnown, !list.symbols.isEmpty {
            printError("kperm: \(out): a table has no names: give --symbols IMAGE")
        }
        guard !resolved.entries.isEmpty else {
            let why = resolved.problems.isEmpty ? "is empty" : "has no line that can be used"
            throw CommandFailure.input(
                "\(listName): \(why); a line is 0xADDRESS or SYMBOL+OFFSET, LENGTH, and to, from or both")
        }
        let reports = resolved.entries.lazy.map { entry in
            TransferReport(entry, engine, limit: limit) { names.stretch(at: $0) }
        }
        var totals = TransferTotals(skipped: resolved.problems.count)
        if json {
            let all = Array(reports)
            for report in all { totals.add(report) }
            let problems = resolved.problems.map(ProblemReport.init)
            try printJSON(DMAReport(file: out, totals: totals, transfers: all, problems: problems))
        } else {
            for report in reports {
                report.print()
                totals.add(report)
            }
            totals.print()
        }
        if failOn == .wrong, totals.wrong > 0 {
            throw CommandFailure.check("\(listName): \(totals.wrong) transfers go wrong as one segment")
        }
    }

    private static let shownProblems = 20

    private var listName: String { transfers == "-" ? "standard input" : transfers }

    private func open() throws -> (TranslationTable, ImageNames) {
        if let table = try tableFile(out) {
            guard let symbols else { return (table, ImageNames()) }
            return (table, try names(from: symbols, table))
        }
        if try isCompressed(out) { throw liveTableOnly(out) }
        let permuted = try attempt { () throws(RewriteError) in try PermutedImage.open(out) }
        if let symbols { return (permuted.table, try names(from: symbols, permuted.table)) }
        if permuted.image.sections.isEmpty {
            let original = try attempt { () throws(RewriteError) in try permuted.original() }
            return (permuted.table, try ImageNames(original, permuted.table))
        }
        return (permuted.table, try ImageNames(permuted.image, permuted.table))
    }

    private func names(from path: String, _ table: TranslationTable) throws -> ImageNames {
        if try isCompressed(path) {
            let kernel = try attempt { () throws(RewriteError) in try CompressedKernel.open(path) }
            return try ImageNames(kernel.kernel, table)
        }
        return try ImageNames(openImage(path), table)
    }
}
