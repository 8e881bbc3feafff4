// SPDX-License-Identifier: MIT

import ArgumentParser
import HazardAudit
import KernelImage
import KernelRewrite

struct Audit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Find what a permutation could make wrong: code that turns virtual addresses into physical ones.",
        discussion: """
            Finds every instruction of a kernel that reads the offset between virtual and physical addresses, and \
            follows what was read, along all paths, to where it is added to an address. A site is understood when all \
            of those places are known, with the register that holds the address. Constants must lie on pages that \
            `kperm permute` pins; one that does not is an error (status 1).

            Needs no relocations and, for a vmlinuz, no other file.
            """)

    @Argument(help: "A kernel image: vmlinux or vmlinuz.", completion: .file())
    var image: String

    @Flag(help: "List every site.")
    var sites = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let subject = try subject()
        progress("\(image): following the code")
        let report = SiteReport(TranslationSites(subject), showsAll: sites)
        if json { try printJSON(report) } else { report.print() }
        guard report.unpinned.isEmpty else {
            throw CommandFailure.check("\(image): \(report.unpinned.count) constants lie on pages that would move")
        }
    }

    private func subject() throws -> AuditSubject {
        if try isCompressed(image) {
            let kernel = try attempt { () throws(RewriteError) in try CompressedKernel.open(image) }
            return try attempt { () throws(RewriteError) in try AuditSubject.kernel(kernel.kernel) }
        }
        let kernel = try openImage(image)
        return try attempt { () throws(RewriteError) in try AuditSubject.kernel(kernel) }
    }
}
