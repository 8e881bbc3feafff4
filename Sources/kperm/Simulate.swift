// SPDX-License-Identifier: MIT

import ArgumentParser
import KernelImage
import PagePermutation

struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Work out what a permutation does to those who use memory.",
        discussion: "`kperm simulate TRACE` is `kperm simulate run TRACE`.",
        subcommands: [SimulateRun.self, SimulateModels.self, SimulateLookups.self, SimulateDMA.self],
        defaultSubcommand: SimulateRun.self)
}
