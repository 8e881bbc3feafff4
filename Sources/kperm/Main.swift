// SPDX-License-Identifier: MIT

// The command line: subcommands, and what their errors become. 0 is done, 1 a
// check that failed, 2 bad usage or input.

import ArgumentParser
import Dispatch
import Glibc

/// The version of the tool, and the number of the drawing algorithm it carries.
let kpermVersion = "0.1.0"

struct Kperm: ParsableCommand {
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
            Inspect.self, Permute.self, Audit.self, Verify.self, Restore.self, Translate.self, Table.self, Boot.self,
            Simulate.self, Bench.self, Evaluate.self, LayoutCommand.self, ReportCommand.self,
        ])
}

@main
enum Entry {
    static func main() {
        do {
            var command = try Kperm.parseAsRoot()
            // Only these wait for other processes. A second thread for the others would cost more than parsing does.
            if let boot = command as? Boot { wait(for: boot) }
            if let attack = command as? EvaluateAttack { wait(for: attack) }
            if let exposure = command as? EvaluateExposure { wait(for: exposure) }
            if let overhead = command as? ReportOverhead { wait(for: overhead) }
            if let layout = command as? LayoutCommand { wait(for: layout) }
            if let security = command as? ReportSecurity { wait(for: security) }
            try command.run()
            finish(0)
        } catch {
            finish(report(error))
        }
    }

    private static func wait(for command: some AsyncParsableCommand & Sendable) -> Never {
        Task { finish(await status(of: command)) }
        dispatchMain()
    }

    private static func status(of command: some AsyncParsableCommand) async -> CInt {
        do {
            var command = command
            try await command.run()
            return 0
        } catch {
            return report(error)
        }
    }

    private static func finish(_ status: CInt) -> Never {
        guard fflush(nil) == 0 else {
            printError("kperm: cannot write to standard output: \(unsafe String(cString: strerror(errno)))")
            exit(max(status, 2))
        }
        exit(status)
    }

    /// Prints what went wrong, or what was asked for by --help, and gives the exit status.
    private static func report(_ error: any Error) -> CInt {
        if let failure = error as? CommandFailure {
            printError("kperm: \(failure.message)")
            return failure.status
        }
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
