// SPDX-License-Identifier: MIT

import ArgumentParser
import KernelRewrite

struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Give back the original of a permuted image, bit for bit.",
        discussion: "Symbols, debug sections and headers come back as they were: `cmp` finds no difference.")

    @Argument(help: "A permuted image.", completion: .file())
    var out: String

    @Option(name: .shortAndLong, help: "Where to write the original.", completion: .file())
    var output: String

    func run() throws {
        try attempt { [out, output] () throws(RewriteError) in try PermutedImage.open(out).restore(to: output) }
    }
}
