// SPDX-License-Identifier: MIT

// What a full audit asks for, kept by the contents of the image: following all
// of a kernel's code takes seconds. An entry is believed only when it is ours,
// whole, of this image, and made by this very program, whose rules may change
// from one build to the next. Everything works without it, only more slowly.

import FoundationEssentials
import Glibc
import HazardAudit
import KernelImage
import KernelRewrite
import SecureRandom

/// The constraints of a full audit.
struct AuditCache {
    private struct Entry: Codable {
        let format: Int
        let image: String
        let program: String
        let constraints: AuditConstraints
        /// The hash of the constraints as they are encoded.
        let check: String
    }

    private static let format = 1
    private static let largest = 16 << 20

    private let image: String
    private let program: String
    /// Nil where nothing can be kept.
    private let path: String?

    init(_ image: borrowing KernelImage) {
        let hash = contentHash(image.file.bytes)
        self.image = hash
        let program: String
        if let own = try? MappedFile.open("/proc/self/exe") { program = contentHash(own.bytes) } else { program = "" }
        self.program = program
        path = program.isEmpty ? nil : Self.directory.map { "\($0)/\(Self.name(hash, program)).json" }
    }

    private static func name(_ image: String, _ program: String) -> String {
        contentHash(Array("\(image) \(program)".utf8))
    }

    /// Where tools keep kernels, too (tools/common.sh).
    private static var directory: String? {
        func variable(_ name: String) -> String? {
            ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
        }
        let home =
            variable("KPERM_CACHE") ?? variable("XDG_CACHE_HOME").map { $0 + "/kperm" }
            ?? variable("HOME").map { $0 + "/.cache/kperm" }
        return home.map { $0 + "/audit" }
    }

    /// What is kept of the image; nil when nothing is that can be believed.
    func stored() -> AuditConstraints? {
        guard let path, Self.isOurs(path), let file = try? MappedFile.open(path), file.byteCount <= Self.largest else {
            return nil
        }
        let bytes = unsafe file.bytes.withUnsafeBytes { unsafe Data($0) }
        guard let entry = try? JSONDecoder().decode(Entry.self, from: bytes), entry.format == Self.format,
            entry.image == image, entry.program == program, let check = Self.check(entry.constraints),
            entry.check == check
        else { return nil }
        return entry.constraints
    }

    /// Keeps what was found, if that is possible.
    func store(_ constraints: AuditConstraints) {
        guard let path, let directory = Self.directory, let check = Self.check(constraints) else { return }
        let entry = Entry(format: Self.format, image: image, program: program, constraints: constraints, check: check)
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try writeSecret(Array(Self.encoded(entry)), to: path)
        } catch {
            progress("\(path): the audit's result is not kept: \(error)")
        }
    }

    private static func encoded(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return try encoder.encode(value)
    }

    private static func check(_ constraints: AuditConstraints) -> String? {
        (try? encoded(constraints)).map { contentHash(Array($0)) }
    }

    /// Whether a file is a plain one of this user's that nobody else can write.
    private static func isOurs(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && status.st_uid == geteuid()
            && status.st_mode & 0o022 == 0
    }
}
