// SPDX-License-Identifier: MIT

import ArgumentParser
import KernelRewrite

struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Give back the original of a permuted image, bit for bit.",
        discussion: """
            Symbols, debug sections and headers come back as they were: `cmp` finds no difference. Whoever may read the \
            permuted image may read what is written, and nobody else: the mode is the same (600, as permute leaves it). A \
            vmlinuz is compressed anew when it is permuted, so it cannot be restored: keep the original.
            """)

    @Argument(help: "A permuted image.", completion: .file())
    var out: String

    @Option(name: .shortAndLong, help: "Where to write the original.", completion: .file())
    var output: String

    func run() throws {
        if try isFlat(out) { return try restoreFlat() }
        if try isCompressed(out) {
            throw CommandFailure.input("\(out): a vmlinuz was compressed anew and cannot be restored: use the original")
        }
        try attempt { [out, output] () throws(RewriteError) in try PermutedImage.open(out).restore(to: output) }
    }
}
