// SPDX-License-Identifier: MIT

public import ArgumentParser
import Glibc
import KernelImage
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

            The frames of a flat riscv64 Image are counted from where it is loaded, which the file does not say: \
            --physical-base ADDRESS does; without it the physical addresses are distances from there.

            A vmlinuz permutes itself, and its table lies in the running kernel's memory only: --from-memory FILE \
            finds it in a guest's memory file, a raw memory dump or an uncompressed vmcore.

              kperm table vmlinux.kperm --format c -o permutation.h
              kperm table --from-memory /dev/shm/guest-ram
            """)

    @Argument(help: "A permuted image.", completion: .file())
    var out: String?

    @Option(help: "Find the table in a dump of a running kernel's memory.", completion: .file())
    var fromMemory: String?

    @Option(help: ArgumentHelp("Where a flat riscv64 Image is loaded.", valueName: "address"))
    var physicalBase: String?

    @Option(help: "The form: \(TableFormat.allCases.map(\.rawValue).joined(separator: ", ")).")
    var format: TableFormat = .json

    @Option(name: .shortAndLong, help: "Where to write it; without, to standard output.", completion: .file())
    var output: String?

    func validate() throws {
        if fromMemory != nil, physicalBase != nil {
            throw ValidationError("--physical-base: a kernel's memory tells where it is loaded (--from-memory)")
        }
        if (out == nil) == (fromMemory == nil) { throw ValidationError("give a permuted image, or --from-memory FILE") }
    }

    func run() throws {
        if let fromMemory {
            let dump = try attempt { () throws(RewriteError) in try MemoryDump.open(fromMemory) }
            let table = try attempt { () throws(RewriteError) in try dump.table() }
            try write(table.formatted(as: format), notOver: dump.file)
        } else if let out {
            if try isCompressed(out) { throw liveTableOnly(out) }
            if let table = try flat(out) { return try write(table.formatted(as: format), notOver: openInput(out)) }
            let permuted = try attempt { () throws(RewriteError) in try PermutedImage.open(out) }
            try write(permuted.table.formatted(as: format), notOver: permuted.image.file)
        }
    }

    private func write(_ bytes: [UInt8], notOver input: borrowing MappedFile) throws {
        if let output {
            try attempt { () throws(RewriteError) in try writeSecret(bytes, to: output, notOver: input) }
            return
        }
        if format == .bin, isatty(STDOUT_FILENO) == 1 {
            throw CommandFailure.input("the binary table does not go to a terminal: use -o FILE or a pipe")
        }
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes[done...].withUnsafeBytes {
                unsafe Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count)
            }
            guard count > 0 else { throw CommandFailure.input("cannot write to standard output") }
            done += count
        }
    }
}

func liveTableOnly(_ path: String) -> CommandFailure {
    .input("\(path): a vmlinuz has its table in the running kernel only: kperm table --from-memory FILE reads it there")
}
