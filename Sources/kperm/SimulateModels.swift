// SPDX-License-Identifier: MIT

import ArgumentParser
import TranslationSimulator

struct SimulateModels: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "List the processors that `simulate run` knows, or print one of them.",
        discussion: """
            A model is a JSON file: translation buffers, walk caches, caches and what things cost in cycles, each with \
            its source. To simulate another processor, begin with one that is like it:

              kperm simulate models skylake > mine.json
              kperm simulate run trace --model mine.json
            """)

    @Argument(help: "Print this model.")
    var name: String?

    @Flag(help: "Print JSON (a model is JSON with or without).")
    var json = false

    private struct Line: Encodable {
        let name: String
        let title: String
    }

    func run() throws {
        if let name {
            guard let known = ProcessorModel.known.first(where: { $0.name == name }) else {
                throw CommandFailure.input(
                    "no model \(name); there are \(ProcessorModel.known.map(\.name).joined(separator: ", "))")
            }
            print(known.json)
            return
        }
        let lines = try ProcessorModel.known.map { Line(name: $0.name, title: try model(named: $0.name).title) }
        if json {
            try printJSON(lines)
        } else {
            for line in lines { print("\(line.name)  \(line.title)") }
        }
    }
}

/// A known model, or one in a file.
func model(named name: String) throws -> ProcessorModel {
    do {
        if let known = ProcessorModel.known.first(where: { $0.name == name }) {
            return try ProcessorModel(json: Array(known.json.utf8), file: name)
        }
        return try ProcessorModel(json: readAll(name, atMost: 1 << 20), file: name)
    } catch let error as ModelError {
        throw CommandFailure.input("\(error)")
    }
}
