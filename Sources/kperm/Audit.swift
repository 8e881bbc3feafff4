// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import HazardAudit
import KernelImage
import KernelRewrite

struct Audit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Find what a permutation makes wrong: places that use physical addresses.")

    @Argument(help: "A kernel image.", completion: .file())
    var image: String

    func run() throws {
        let path = image
        let subject: AuditSubject
        if try isCompressed(path) {
            let kernel = try attempt { () throws(RewriteError) in try CompressedKernel.open(path) }
            subject = try attempt { () throws(RewriteError) in try AuditSubject.kernel(kernel.kernel) }
        } else {
            let image = try openImage(path)
            subject = try attempt { () throws(RewriteError) in try AuditSubject.kernel(image) }
        }
        let found = TranslationSites(subject)
        for site in found.sites {
            print(
                "\(site.address) \(site.place): \(site.instruction): \(site.kind.rawValue) \(site.translated) -> \(site.result) \(site.remark)"
            )
        }
        for kind in TranslationSite.Kind.allCases { print(kind.rawValue, found.sites.count { $0.kind == kind }) }
        print("skipped", found.skipped.count)
    }
}
