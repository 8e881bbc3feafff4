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
        do {
            var command = try Kperm.parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let failure as CommandFailure {
            printError("kperm: \(failure.message)")
            exit(failure.status)
        } catch {
            let status = Kperm.exitCode(for: error)
            let message = Kperm.fullMessage(for: error)
            if status == .success {
                print(message)
            } else if !message.isEmpty {
                printError(message)
            }
            exit(status == .validationFailure ? 2 : status.rawValue)
        }
    }
}
