// SPDX-License-Identifier: MIT

// What tests share that make files and call programs: a directory that goes with
// its owner, and running a tool of the checkout or of the toolchain.

import Foundation

/// The top of the checkout.
public let checkout = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

public struct ToolFailure: Error {
    public let command: String
    public let output: String

    public init(command: String, output: String) {
        self.command = command
        self.output = output
    }
}

/// Runs a program found on PATH and gives what it printed.
@discardableResult
public func runTool(_ words: String..., environment: [String: String] = [:]) throws -> String {
    try runTool(words, environment: environment)
}

/// The same, for words that are a list already.
@discardableResult
public func runTool(_ words: [String], environment: [String: String] = [:]) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = words
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let output = Pipe()
    process.standardOutput = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
        throw ToolFailure(command: words.joined(separator: " "), output: text)
    }
    return text
}

/// What tools/fetch-kernel says of a flavour of Debian's kernel, by its keys ("vmlinux", "vmlinuz", ...).
public func fetchKernel(_ flavour: String, _ what: String) throws -> [String: String] {
    let lines = try runTool("\(checkout)/tools/fetch-kernel", "--flavour", flavour, what)
    let pairs = lines.split(separator: "\n").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
    return Dictionary(uniqueKeysWithValues: pairs.map { ($0[0], $0[1]) })
}

/// A directory that goes with its owner.
public final class Scratch: Sendable {
    public let path: String

    public init() throws {
        path = NSTemporaryDirectory() + "kperm-rewrite-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    public subscript(name: String) -> String { "\(path)/\(name)" }

    /// Its files, hidden ones too.
    public var files: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

public func readBytes(_ path: String) throws -> [UInt8] { try Array(Data(contentsOf: URL(fileURLWithPath: path))) }

@discardableResult
public func write(_ bytes: [UInt8], to path: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
}
