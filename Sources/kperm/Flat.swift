// SPDX-License-Identifier: MIT

// What the subcommands do with a flat riscv64 Image, whose pages the kernel in it
// can have in any order: it says itself which may move, and names nothing.

import Addressing
import Glibc
import KernelImage
import KernelRewrite
import PagePermutation
import SecureRandom

/// Whether a file is a flat RISC-V Image.
func isFlat(_ path: String) throws -> Bool {
    let file = try openInput(path)
    return FlatImage.isFlat(file)
}

func openFlat(_ path: String) throws -> FlatImage {
    try attempt { () throws(RewriteError) in try FlatImage.open(path) }
}

struct FlatReport: Encodable {
    struct ClassLine: Encodable {
        let name: String
        let pages: Int
        let moved: Int
    }

    let file: String
    let format = "flat riscv64 Image"
    let virtualBase: String
    let pages: Int
    let counted: Int
    let pinned: Int
    let movable: Int
    let moved: Int
    let percentMoved: Double
    /// linear, baked, or boot: drawn at every boot.
    let order: String
    let crossClass: Bool
    let tableEntries: Int
    let classes: [ClassLine]
    let pins: [PinReport]

    init(_ image: FlatImage, _ permutation: Permutation, _ mode: FlatImage.Mode, crossClass: Bool) {
        file = image.path
        virtualBase = image.virtualBase.description
        pages = image.pageCount
        counted = image.countedPages
        movable = image.movablePages
        pinned = counted - movable
        moved = permutation.forward.enumerated().count { $0.offset != $0.element }
        percentMoved = counted == 0 ? 0 : 100 * Double(moved) / Double(counted)
        order =
            switch mode {
            case .linear: "linear"
            case .baked: "baked"
            case .drawnAtBoot: "boot"
            }
        self.crossClass = crossClass
        tableEntries = image.capacity
        classes = image.classes.map { pageClass in
            let all = pageClass.ranges.joined()
            return ClassLine(
                name: pageClass.name, pages: pageClass.pageCount, moved: all.count { permutation.forward[$0] != $0 })
        }
        pins = image.pins.map { PinReport($0) }
    }

    func print() {
        Swift.print("file:         \(file)")
        Swift.print("format:       \(format), \(pages) pages from \(virtualBase), table of \(tableEntries) entries")
        let across = crossClass ? ", across classes" : ""
        switch order {
        case "baked":
            Swift.print(
                "permuted:     yes, \(moved) of \(counted) pages moved (\(percentMoved.oneDecimal) %)\(across)")
        case "boot": Swift.print("permuted:     drawn at every boot\(across)")
        default: Swift.print("permuted:     no")
        }
        let percent = counted == 0 ? 0 : 100 * Double(movable) / Double(counted)
        Swift.print("can move:     \(movable) of \(counted) pages (\(percent.oneDecimal) %), \(pinned) pinned")
        Swift.print("classes:")
        for entry in classes { Swift.print("  \(entry.name): \(entry.pages) pages, \(entry.moved) moved") }
        Swift.print("pins:")
        for pin in pins { Swift.print("  pages \(pin.first)-\(pin.last): \(pin.reason)") }
    }
}

extension Inspect {
    func inspectFlat() throws {
        let image = try openFlat(image)
        let order = try attempt { () throws(RewriteError) in try image.permutation() }
        let report = FlatReport(image, order, image.mode, crossClass: image.isCrossClass)
        if json { try printJSON(report) } else { report.print() }
    }
}

extension Permute {
    func permuteFlat() throws {
        guard encoding == nil, granule == .page4K, pin.isEmpty, glue.isEmpty, constraints.isEmpty, signKey == nil,
            audit == .constants, !rewrite, !unbootable
        else {
            throw CommandFailure.input(
                "\(image): a flat Image says itself which pages stay, and boots: it takes no --encoding, --granule, --pin, "
                    + "--glue, --constraints, --audit, --rewrite, --unbootable or --sign-key")
        }
        let image = try openFlat(image)
        let when = when ?? .build
        let problem = try attempt { [crossClass] () throws(RewriteError) in try image.problem(crossClass: crossClass) }
        let order: Permutation
        let out: [UInt8]
        if when == .build {
            let seed = try makeSeed()
            do {
                order = try Permutation.draw(problem, seed: seed)
            } catch {
                throw CommandFailure.input("\(image.path): \(error)")
            }
            out = try attempt { [crossClass] () throws(RewriteError) in
                try image.baked(order, crossClass: crossClass)
            }
        } else {
            order = Permutation(identity: image.pageCount)
            out = try attempt { [crossClass] () throws(RewriteError) in
                try image.drawingAtBoot(crossClass: crossClass)
            }
        }
        if !dryRun, let output { try write(out, to: output, from: image.path, isSecret: when == .build) }
        let report = FlatReport(image, order, when == .build ? .baked : .drawnAtBoot, crossClass: crossClass)
        if json { try printJSON(report) } else { report.print() }
        if !json, !dryRun, let output { print("written:      \(output)") }
    }

    private func write(_ bytes: [UInt8], to output: String, from input: String, isSecret: Bool) throws {
        let file = try openInput(input)
        try attempt { () throws(RewriteError) in
            try writeImage(bytes, to: output, notOver: file, isSecret: isSecret)
        }
    }
}

extension Verify {
    func verifyFlat() throws {
        let before = try openFlat(original)
        let after = try openFlat(out)
        try report(try attempt { () throws(RewriteError) in try after.verify(against: before) }) {
            "proved: \($0.pages) pages show the original's bytes but for the descriptor and the tables; "
                + "\($0.moved) moved, \($0.bytesCompared) bytes compared"
        }
    }
}

extension Restore {
    func restoreFlat() throws {
        let permuted = try openFlat(out)
        let bytes = try attempt { () throws(RewriteError) in try permuted.restored() }
        let file = try openInput(permuted.path)
        try attempt { [output] () throws(RewriteError) in
            try writeImage(bytes, to: output, notOver: file, isSecret: false)
        }
    }
}
