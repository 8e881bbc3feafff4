// SPDX-License-Identifier: MIT

// The command line: subcommands, and what their errors become. 0 is done, 1 a
// check that failed, 2 bad usage or input.

import ArgumentParser
import Glibc

/// The version of the tool, and the number of the drawing algorithm it carries.
let kpermVersion = "0.1.0"

struct Kperm: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kperm",
        abstract: "Permute the physical page frames under a kernel image.",
        discussion: """
            kperm takes a Linux x86-64 vmlinux and gives back the same kernel with its physical page frames in a \
            random order. Virtual addresses do not change; page tables, a generated virt_to_phys table and a small \
            boot stub carry the difference.

              kperm permute vmlinux -o vmlinux.kperm
              kperm verify vmlinux vmlinux.kperm
              kperm boot vmlinux.kperm

            Exit status: 0 done, 1 a check failed, 2 bad usage or input.
            """,
        version: "kperm \(kpermVersion)",
        subcommands: [
            Inspect.self, Permute.self, Verify.self, Restore.self, Translate.self, Table.self, Boot.self,
        ])
}

@main
enum Entry {
    static func main() async {
        var status = await run()
        if fflush(nil) != 0 {
            printError("kperm: cannot write to standard output: \(unsafe String(cString: strerror(errno)))")
            status = max(status, 2)
        }
        exit(status)
    }

    private static func run() async -> CInt {
        do {
            var command = try Kperm.parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return 0
        } catch let failure as CommandFailure {
            printError("kperm: \(failure.message)")
            return failure.status
        } catch {
            let status = Kperm.exitCode(for: error)
            let message = Kperm.fullMessage(for: error)
            if status == .success {
                print(message)
            } else if status == .validationFailure {
                let line = Kperm.message(for: error).split(separator: "\n").joined(separator: " ")
                printError("kperm: \(line) (--help explains)")
            } else if !message.isEmpty {
                printError(message)
            }
            return status == .validationFailure ? 2 : status.rawValue
        }
    }
}
