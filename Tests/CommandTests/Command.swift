// SPDX-License-Identifier: MIT

// Running kperm as its users do: the built program, which lies beside the tests,
// in a directory of its own whose files have short names, so that what it prints
// names no path of this machine.

import Foundation
import Subprocess
import Testing

/// The top of the checkout.
let checkout = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

/// The product that these tests were built with.
let product = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent("kperm")
    .path

/// How a program ended.
struct Outcome {
    let status: Int32
    let output: String
    let error: String
}

/// Runs a program in a directory.
func execute(
    _ program: String, _ arguments: [String], in directory: String, environment: [Environment.Key: String?] = [:]
) async throws -> Outcome {
    let result = try await run(
        .name("sh"), arguments: Arguments(["-c", #"cd "$0" && exec "$@""#, directory, program] + arguments),
        environment: .inherit.updating(environment), output: .string(limit: 1 << 22), error: .string(limit: 1 << 20))
    guard case .exited(let status) = result.terminationStatus else {
        return Outcome(
            status: -1, output: result.standardOutput, error: "ended by a signal: \(result.terminationStatus)")
    }
    return Outcome(status: status, output: result.standardOutput, error: result.standardError)
}

/// A directory with files to run kperm on; it goes with its owner.
final class Workplace: Sendable {
    static let seed = String(repeating: "00", count: 31) + "01"
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "kperm-command-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// With fixtures by name.
    convenience init(_ first: String, _ others: String...) async throws { try await self.init([first] + others) }

    convenience init(_ names: [String]) async throws {
        try self.init()
        let source = try await Fixtures.shared.directory()
        for name in names where name != "missing" {
            try FileManager.default.copyItem(atPath: source[name], toPath: self[name])
        }
    }

    subscript(name: String) -> String { "\(path)/\(name)" }

    /// Its files, hidden ones too.
    var files: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }

    func kperm(_ arguments: String...) async throws -> Outcome { try await kperm(arguments) }

    func kperm(_ arguments: [String]) async throws -> Outcome {
        try await execute(product, arguments, in: path, environment: ["TMPDIR": path])
    }

    func bytes(_ name: String) throws -> [UInt8] { try Array(Data(contentsOf: URL(fileURLWithPath: self[name]))) }

    func write(_ bytes: [UInt8], to name: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: self[name])) }

    /// Permission bits, in octal.
    func mode(_ name: String) throws -> String {
        let attributes = try FileManager.default.attributesOfItem(atPath: self[name])
        return String((attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0, radix: 8)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
