// SPDX-License-Identifier: MIT

import ArgumentParser

struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Work out what a permutation does to those who use memory.",
        subcommands: [SimulateDMA.self])
}
