// SPDX-License-Identifier: MIT

// Modules translate addresses with the offset of the kernel that loads them. Where
// the kernel's own translations ask a table, so do theirs: each module of a tree
// that translates is rewritten, and what is left of it is said with the reason.

import Addressing
import ArgumentParser
import FoundationEssentials
import GuestCheck
import HazardAudit
import KernelImage
import KernelRewrite

/// The modules that belong to a kernel.
struct ModuleArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The kernel's modules: with --rewrite, those that translate addresses ask the table as well.",
            valueName: "directory"), completion: .directory)
    var modules: String?

    @Option(
        help: ArgumentHelp(
            "Where to write all of --modules, a new directory. (default: OUTPUT.modules)", valueName: "directory"),
        completion: .directory)
    var modulesOutput: String?

    /// Where they go, if anywhere.
    func destination(_ output: String?) -> String? { modulesOutput ?? output.map { "\($0).modules" } }
}

/// What became of a tree of modules.
struct ModulesReport: Encodable {
    struct Module: Encodable {
        let file: String
        let sites: Int
        let rewritten: Int
        /// Instructions that ask the table.
        let places: Int
        let left: [RewriteReport.Left]
        /// Why it was left as it is, as a whole.
        let problem: String?
        let signature: Signature
    }

    enum Signature: String, Encodable {
        case none, removed, renewed
    }

    let directory: String
    let output: String?
    /// All of them.
    let count: Int
    /// Those that are compressed, which are not looked at.
    let compressed: Int
    /// Those that translate addresses.
    let translating: [Module]

    func print(complete: Bool) {
        func sum(_ count: (Module) -> Int) -> Int { translating.reduce(0) { $0 + count($1) } }
        Swift.print(
            "modules:   \(translating.count) of \(count) translate addresses; \(sum(\.rewritten)) of their "
                + "\(sum(\.sites)) sites ask the table, at \(sum(\.places)) places")
        for module in translating where complete || module.problem != nil || !module.left.isEmpty {
            if let problem = module.problem {
                Swift.print("  \(module.file): left as it is: \(problem)")
                continue
            }
            if complete { Swift.print("  \(module.file): \(module.rewritten) of \(module.sites) sites") }
            for site in module.left { Swift.print("  \(module.file): \(site.place) is left: \(site.reason)") }
        }
        if compressed > 0 { Swift.print("  \(compressed) are compressed and were not looked at: unpack them first") }
        let unsigned = translating.count { $0.signature == .removed }
        if unsigned > 0 {
            Swift.print(
                "  \(unsigned) lost their signature: a kernel that demands one refuses them; --sign-key and --sign-cert "
                    + "sign anew")
        }
        if let output { Swift.print("written:   \(output)") }
    }
}

/// Rewrites what of a directory translates.
struct ModuleTree {
    let directory: String
    let release: String?
    let lookups: KernelLookups
    let key: SigningKey?

    /// - Parameter output: a directory that is made; nil to find out only.
    /// - Throws: `CommandFailure` when it cannot be read or written, or holds a module of another kernel.
    func rewrite(to output: String?) throws -> ModulesReport {
        let paths = ((try? FileManager.default.subpathsOfDirectory(atPath: directory)) ?? []).sorted()
        let modules = paths.filter { $0.hasSuffix(".ko") }
        let compressed = paths.count { path in [".ko.xz", ".ko.zst", ".ko.gz"].contains(where: path.hasSuffix) }
        guard !modules.isEmpty || compressed > 0 else {
            throw CommandFailure.input("\(directory): no modules (.ko) in it")
        }
        if let output, FileManager.default.fileExists(atPath: output) {
            throw CommandFailure.input("\(output): exists: remove it, or give another --modules-output")
        }
        var found: [ModulesReport.Module] = []
        var files: [(path: String, bytes: [UInt8])] = []
        for (number, path) in modules.enumerated() {
            progress("\(path): \(number + 1) of \(modules.count)")
            guard let (module, bytes) = try rewrite(path) else { continue }
            found.append(module)
            if !bytes.isEmpty { files.append((path, bytes)) }
        }
        if let output { try write(files, to: output) }
        return ModulesReport(
            directory: directory, output: output, count: modules.count + compressed, compressed: compressed,
            translating: found)
    }

    /// Nil for one that translates nothing. No bytes for one that is left as it is.
    private func rewrite(_ path: String) throws -> (ModulesReport.Module, [UInt8])? {
        let file = "\(directory)/\(path)"
        let image = try openImage(file)
        let names = try attempt { () throws(RewriteError) in try image.namesPhysBase() }
        guard names else { return nil }
        let bytes = try readAll(file)
        if let release, let made = KernelModule(name: path, bytes: bytes).release, made != release {
            throw CommandFailure.input("\(file): made for Linux \(made), the kernel is \(release)")
        }
        let subject = try attempt { () throws(RewriteError) in try AuditSubject.module(image) }
        let found = TranslationSites(subject)
        let isSigned = image.elfByteCount < bytes.count
        var left = found.skipped.map { ($0.address, $0.reason) }
        left += found.sites.compactMap { site in site.whyNotRewritten.map { (site.address, $0) } }
        var (changed, places, problem): ([UInt8], Int, String?) = ([], 0, nil)
        do throws(RewriteError) {
            let module = try RewrittenModule.make(
                image, subject.laidOut, found.sites.compactMap(\.rewritten), lookups, name: subject.functionName)
            (changed, places) = (module.file, module.places)
            left += module.left
        } catch {
            problem = "\(error)"
        }
        var signature = ModulesReport.Signature.none
        if isSigned, !changed.isEmpty { signature = key == nil ? .removed : .renewed }
        if let key, !changed.isEmpty {
            changed = try key.signedModule(changed)
            signature = .renewed
        }
        let reasons = Dictionary(left) { first, _ in first }.sorted { $0.key < $1.key }
        let total = found.sites.count + found.skipped.count
        return (
            ModulesReport.Module(
                file: path, sites: total, rewritten: problem == nil ? total - reasons.count : 0, places: places,
                left: reasons.map {
                    RewriteReport.Left(address: $0.key.description, place: subject.describe($0.key), reason: $0.value)
                }, problem: problem, signature: signature), changed
        )
    }

    /// A copy of the directory with some files changed, complete or not there.
    private func write(_ files: [(path: String, bytes: [UInt8])], to output: String) throws {
        progress("\(output): writing")
        let partial = "\(output).partial"
        do {
            try? FileManager.default.removeItem(atPath: partial)
            try FileManager.default.copyItem(atPath: directory, toPath: partial)
            for (path, bytes) in files { try Data(bytes).write(to: URL(filePath: "\(partial)/\(path)")) }
            try FileManager.default.moveItem(atPath: partial, toPath: output)
        } catch {
            try? FileManager.default.removeItem(atPath: partial)
            throw CommandFailure.input("\(output): cannot be written: \(error)")
        }
    }
}
