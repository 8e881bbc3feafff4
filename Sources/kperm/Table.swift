// SPDX-License-Identifier: MIT

public import ArgumentParser
import Glibc
import KernelRewrite
public import PagePermutation

extension TableFormat: ExpressibleByArgument {}

struct Table: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "table",
        abstract: "Print the translation table of a permuted image for other programs.",
        discussion: """
            Formats: json, bin (the table as it lies in the kernel's memory), c (a header), asm. The table is as \
            secret as the seed: a file written with -o is readable by its owner only.
            """)

    @Argument(help: "A permuted image.", completion: .file())
    var out: String

    @Option(help: "The form: \(TableFormat.allCases.map(\.rawValue).joined(separator: ", ")).")
    var format: TableFormat = .json

    @Option(name: .shortAndLong, help: "Where to write it; without, to standard output.", completion: .file())
    var output: String?

    func run() throws {
        let permuted = try attempt { [out] () throws(RewriteError) in try PermutedImage.open(out) }
        let bytes = permuted.table.formatted(as: format)
        if let output {
            try attempt { () throws(RewriteError) in try writeSecret(bytes, to: output, notOver: permuted.image) }
            return
        }
        if format == .bin, isatty(STDOUT_FILENO) == 1 {
            throw CommandFailure.input("the binary table does not go to a terminal: use -o FILE or a pipe")
        }
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes[done...].withUnsafeBytes { unsafe write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            guard count > 0 else { throw CommandFailure.input("cannot write to standard output") }
            done += count
        }
    }
}
