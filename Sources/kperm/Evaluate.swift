// SPDX-License-Identifier: MIT

import ArgumentParser

struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate", abstract: "What a permutation buys, and what it does not.",
        discussion: "`kperm evaluate IMAGE` is `kperm evaluate figures IMAGE`.",
        subcommands: [EvaluateFigures.self, EvaluateRandomness.self, EvaluateAttack.self, EvaluateExposure.self],
        defaultSubcommand: EvaluateFigures.self)
}
