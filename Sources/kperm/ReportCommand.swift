// SPDX-License-Identifier: MIT

import ArgumentParser

struct ReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Measure, compute and count, and write one page about it.",
        subcommands: [ReportOverhead.self, ReportSecurity.self])
}
