// SPDX-License-Identifier: MIT

import ArgumentParser
import KernelImage
import KernelRewrite

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Prove that a permuted image is its original in another order.",
        discussion: """
            Makes the plan again from ORIGINAL with the order in OUT's table, checks that the order respects every pin \
            and class, and follows each page as the machine will: page tables in OUT, frame, physical address of a \
            program header, file offset, bytes. Whatever else is in the file must be the original's, too.

            Of a vmlinuz, which permutes itself while it starts: unpacks both and proves that only the listed bytes \
            differ.

            Exit status 1 when the proof fails, with what is wrong.
            """)

    @Argument(help: "The image before.", completion: .file())
    var original: String

    @Argument(help: "The permuted image.", completion: .file())
    var out: String

    @Flag(help: "Print JSON.")
    var json = false

    struct Report: Encodable {
        let passed: Bool
        let pages: Int
        let moved: Int
        let changes: Int
        let bytesCompared: Int
        let findings: [String]
        /// Made with --audit off.
        let leavesOutTranslated: Bool
    }

    func run() throws {
        if try isFlat(original) { return try verifyFlat() }
        if try isCompressed(original), try isCompressed(out) {
            let kernel = try attempt { [original] () throws(RewriteError) in try CompressedKernel.open(original) }
            guard try attempt({ () throws(RewriteError) in try kernel.manifest() }) == nil else {
                throw CommandFailure.input("\(original): is itself permuted: give the original of OUT first")
            }
            let permuted = try attempt { [out] () throws(RewriteError) in try CompressedKernel.open(out) }
            let translations = try translations(permuted, kernel)
            let result = try attempt { () throws(RewriteError) in
                try permuted.verify(against: kernel, rewriting: translations)
            }
            try report(result) {
                "proved: the unpacked kernels differ in \($0.changes) listed changes only; \($0.bytesCompared) bytes compared"
            }
            return
        }
        let original = try openImage(original)
        guard !PermutedImage.isPermuted(original) else {
            throw CommandFailure.input("\(original.path): is itself permuted: give the original of OUT first")
        }
        let permuted = try attempt { [out] () throws(RewriteError) in try PermutedImage.open(out) }
        let translations = try translations(permuted, original)
        let result = try attempt { () throws(RewriteError) in
            try permuted.verify(against: original, rewriting: translations)
        }
        try report(result) {
            "proved: \($0.pages) pages show the original's bytes but for \($0.changes) listed changes; \($0.moved) moved, "
                + "\($0.bytesCompared) bytes compared"
        }
    }

    func report(_ result: Verification, proved: (Verification) -> String) throws {
        if json {
            try printJSON(
                Report(
                    passed: result.passed, pages: result.pages, moved: result.moved, changes: result.changes,
                    bytesCompared: result.bytesCompared, findings: result.findings,
                    leavesOutTranslated: result.leavesOutTranslated))
        } else if result.passed {
            print(proved(result))
            if result.leavesOutTranslated {
                print("note: made with --audit off: objects whose physical addresses code computes may have moved")
            }
        } else {
            for finding in result.findings.prefix(20) { print(finding) }
            if result.findings.count > 20 { print("and \(result.findings.count - 20) more") }
        }
        if !result.passed {
            throw CommandFailure.check("\(out): not proved: \(result.findings.count) findings")
        }
    }
}
