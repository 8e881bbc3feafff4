// SPDX-License-Identifier: MIT

// Where reports go and in what form, the same for all of them.

import ArgumentParser
import FoundationEssentials
import Glibc
import Report

/// What a report is written as.
enum ReportFormat: String, CaseIterable, ExpressibleByArgument {
    case html, markdown, json

    /// By the name of a file; nil where it says nothing.
    init?(file: String) {
        switch file.split(separator: "/").last?.split(separator: ".").dropFirst().last {
        case "html", "htm": self = .html
        case "md", "markdown": self = .markdown
        case "json": self = .json
        default: return nil
        }
    }
}

struct ReportDestinations: ParsableArguments {
    @Option(name: .shortAndLong, help: "Where to write; the name ends with .html, .md or .json.", completion: .file())
    var output: [String] = []

    @Option(help: "html, markdown or json. (default: by the name of the file; markdown without one)")
    var format: ReportFormat?

    @Flag(help: "Print JSON: --format json.")
    var json = false

    func validate() throws {
        if format != nil, output.count > 1 || json {
            throw ValidationError("--format is for one output; several are told apart by their names")
        }
        if json, !output.isEmpty { throw ValidationError("--json prints; to write a file, -o FILE.json") }
        _ = try all()
    }

    /// What is written where; nil is standard output.
    private func all() throws -> [(format: ReportFormat, file: String?)] {
        if output.isEmpty { return [(json ? .json : format ?? .markdown, nil)] }
        return try output.map { file in
            guard let format = format ?? ReportFormat(file: file) else {
                throw ValidationError(
                    "\(file): say in what form with --format, or let its name end with .html, .md or .json")
            }
            return (format, file)
        }
    }

    /// Long work must not end with a file that cannot be written.
    func check() async throws {
        for file in output { try Self.checkWritable(file) }
        if try all().contains(where: { $0.format == .html }) {
            try await Self.drawing { () async throws(PlotError) in try await Gnuplot.check() }
        }
    }

    /// Writes a report to all places.
    func write(_ report: some Encodable, _ document: Document) async throws {
        for (format, file) in try all() {
            let text =
                switch format {
                case .html: try await Self.drawing { () async throws(PlotError) in try await document.html() }
                case .markdown: document.markdown
                case .json: try Self.json(report)
                }
            try Self.write(text, to: file)
        }
    }

    /// Reads what an earlier run wrote as JSON.
    ///
    /// - Parameter writer: the command that writes such files.
    static func read<Result: Decodable>(_ file: String, writtenBy writer: String) throws -> Result {
        let bytes = try readAll(file)
        do { return try JSONDecoder().decode(Result.self, from: Data(bytes)) } catch {
            throw CommandFailure.input("\(file): not a report that \(writer) wrote as JSON")
        }
    }

    private static func drawing<Result>(_ work: () async throws(PlotError) -> Result) async throws -> Result {
        do { return try await work() } catch { throw CommandFailure.input("\(error)") }
    }

    private static func checkWritable(_ file: String) throws {
        let slash = file.lastIndex(of: "/")
        let directory = slash.map { $0 == file.startIndex ? "/" : String(file[..<$0]) } ?? "."
        var status = stat()
        if unsafe stat(file, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            throw CommandFailure.input("\(file): exists and is not a regular file")
        }
        guard unsafe access(directory, W_OK) == 0 else {
            throw CommandFailure.input("\(file): cannot write there: \(unsafe String(cString: strerror(errno)))")
        }
    }

    private static func json(_ report: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(report), as: UTF8.self) + "\n"
    }

    private static func write(_ text: String, to file: String?) throws {
        guard let file else { return print(text, terminator: "") }
        do {
            try Data(text.utf8).write(to: URL(filePath: file), options: .atomic)
        } catch {
            throw CommandFailure.input("\(file): cannot write: \(error)")
        }
    }
}
