// SPDX-License-Identifier: MIT

// What `kperm evaluate exposure` says, and what of it is a failure.

import Addressing
import GuestCheck

struct ExposureReport: Encodable {
    /// The image's file.
    struct File: Encodable {
        enum Secret: String, Encodable { case nothing, order, seed }

        let mode: UInt16
        let holds: Secret

        /// Whether others than its owner may read a secret in it.
        var isExposed: Bool { holds != .nothing && mode & 0o044 != 0 }

        fileprivate var words: String {
            let digits = String(mode & 0o7777, radix: 8)
            let secret =
                switch holds {
                case .nothing: "holds no order"
                case .order: "holds the order"
                case .seed: "holds the seed that the order is drawn from"
                }
            return "mode \(String(repeating: "0", count: max(0, 4 - digits.count)))\(digits), \(secret)"
        }
    }

    let image: String
    let release: String
    let file: File
    private(set) var boots: [ExposureResult] = []
    /// What is a failure, a line each.
    private(set) var problems: [String] = []

    init(image: String, release: String, file: File) {
        self.image = image
        self.release = release
        self.file = file
        if file.isExposed { problems.append("others may read the file, which \(file.words): chmod 600") }
    }

    mutating func add(_ result: ExposureResult) {
        boots.append(result)
        let boot = "boot \(boots.count)"
        for interface in result.interfaces where interface.user.isTelling {
            problems.append("\(boot): any user reads \(interface.user.words) in \(interface.user.places)")
        }
        if result.aliases.wide > 0 {
            problems.append(
                "\(boot): \(result.aliases.wide) other mappings of text and rodata are writable or executable")
        }
    }

    func introduce() {
        Swift.print("kernel:     \(release)")
        Swift.print("file:       \(file.words)")
    }

    static func print(_ result: ExposureResult, number: Int) {
        Swift.print("boot \(number): \(result.movedPages) pages moved (\(result.seconds.oneDecimal) s)")
        func row(_ cells: [String]) -> String {
            zip(cells, [30, 36, 0]).map { $0 + String(repeating: " ", count: max(1, $1 - $0.count)) }.joined()
        }
        func line(_ cells: [String]) {
            let text = row(cells)
            Swift.print("  \(text.prefix(upTo: text.lastIndex { $0 != " " }.map(text.index(after:)) ?? text.endIndex))")
        }
        line(["can be read", "by any user", "by root"])
        for interface in result.interfaces where interface.user.files + interface.root.files > 0 {
            let isGroup = interface.path.hasSuffix("/")
            line([interface.path + (isGroup ? "…" : ""), interface.user.summary, interface.root.summary])
            for reader in ExposureReader.allCases where interface[reader].isTelling {
                let name = reader == .user ? "any user" : "root"
                if isGroup { Swift.print("    \(name), \(interface[reader].words): \(interface[reader].places)") }
            }
        }
        printMappings(result)
    }

    private static func printMappings(_ result: ExposureResult) {
        let aliases = result.aliases
        for (name, pages) in [("moved", aliases.moved), ("not moved", aliases.unmoved)] {
            Swift.print(
                "  text and rodata, \(name): \(pages.count) pages, \(pages.shown) of them in the linear map, "
                    + "\(pages.writable) writable and \(pages.executable) executable there")
        }
        Swift.print(
            "  other mappings of these: \(aliases.elsewhereInImage) among the image's addresses, "
                + "\(aliases.elsewhere) elsewhere; writable or executable in all: \(aliases.wide)")
        for example in aliases.examples { Swift.print("    \(example)") }
        if let place = result.tablePlace {
            Swift.print(
                "  the table itself: \(place.bytes) bytes at physical \(place.address.hex), "
                    + "\(place.writable) of \(place.mapped) mappings writable, \(place.executable) executable: the kernel's alone"
            )
        }
        if let seeds = result.seedsInMemory { Swift.print("  the seed that was given: at \(seeds) places of memory") }
    }

    func conclude() {
        let files = boots.reduce(0) { sum, boot in sum + boot.interfaces.reduce(0) { $0 + $1.user.open } }
        let bytes = boots.reduce(0) { sum, boot in sum + boot.interfaces.reduce(0) { $0 + $1.user.bytes } }
        if !boots.contains(where: \.isExposed) {
            Swift.print("any user:   nothing of the permutation in \(files) files, \(bytes) bytes")
        }
        let telling = boots.flatMap(\.interfaces).filter(\.root.isTelling).flatMap(\.root.telling)
        let places = Set(telling).sorted().joined(separator: ", ")
        Swift.print("root:       " + (places.isEmpty ? "nothing of the permutation" : "reads it in \(places)"))
    }
}

extension ExposureView {
    /// What is told.
    fileprivate var words: String {
        let told = (pages > 0 ? ["the frames of \(pages) pages"] : []) + (hasSeed ? ["the seed"] : [])
        return told.joined(separator: ", ")
    }

    fileprivate var places: String { telling.joined(separator: ", ") + (telling.count == 20 ? ", …" : "") }

    fileprivate var summary: String {
        if files == 0 { return "not there" }
        if open == 0 { return "closed" }
        let told = (isTelling ? [words] : []) + (hasBase ? ["where the image begins"] : [])
        let text = told.isEmpty ? "nothing" : told.joined(separator: ", ")
        return files == 1 ? text : "\(text) (\(open) of \(files) files)"
    }
}
