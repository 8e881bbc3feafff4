// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import KernelImage
import KernelRewrite
import PagePermutation

struct Translate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "translate",
        abstract: "Translate addresses of a permuted image: virt_to_phys, or back.",
        discussion: """
            Prints each virtual address with the physical address behind it, a line each; with --reverse the other \
            way round. Addresses outside the image are an error: its table does not know them.

            A flat riscv64 Image names nothing, and does not say where it is loaded: take addresses, and give that place \
            with --physical-base, or physical addresses are distances from it.

              kperm translate vmlinux.kperm jiffies 0xffffffff81000000 linux_banner+8
              kperm translate vmlinux.kperm --reverse 0x1234000
            """)

    @Argument(help: "A permuted image.", completion: .file())
    var out: String

    @Argument(help: "Addresses (0x…), or symbols with or without an offset.")
    var addresses: [String]

    @Flag(help: "The addresses are physical: print the virtual ones.")
    var reverse = false

    @Option(help: ArgumentHelp("Where a flat riscv64 Image is loaded.", valueName: "address"))
    var physicalBase: String?

    @Flag(help: "Print JSON.")
    var json = false

    struct Line: Encodable {
        let input: String
        let virtual: String
        let physical: String
    }

    func run() throws {
        if try isCompressed(out) { throw liveTableOnly(out) }
        if let lines = try flatLines() { return try show(lines) }
        let permuted = try attempt { [out] () throws(RewriteError) in try PermutedImage.open(out) }
        let lines = reverse ? try addresses.map { try fromPhysical($0, permuted) } : try fromVirtual(permuted)
        try show(lines)
    }

    func show(_ lines: [Line]) throws {
        if json {
            try printJSON(lines)
        } else {
            for line in lines {
                print(reverse ? "\(line.physical) \(line.virtual)" : "\(line.virtual) \(line.physical)")
            }
        }
    }

    private func fromPhysical(_ text: String, _ permuted: borrowing PermutedImage) throws -> Line {
        try fromPhysical(text, permuted.table)
    }

    func fromPhysical(_ text: String, _ table: TranslationTable) throws -> Line {
        guard let number = parseNumber(text) else {
            throw CommandFailure.input("\(text): a physical address is a number")
        }
        guard let virtual = table.virtualAddress(of: PhysicalAddress(number)) else {
            throw CommandFailure.input("\(text): outside the image's frames")
        }
        return Line(input: text, virtual: virtual.description, physical: number.hex)
    }

    private func fromVirtual(_ permuted: borrowing PermutedImage) throws -> [Line] {
        let needsSymbols = addresses.contains { parseNumber($0) == nil }
        let original =
            needsSymbols && permuted.image.sections.isEmpty
            ? try attempt { () throws(RewriteError) in try permuted.original() } : nil
        if let original { return try lines(original, permuted) }
        return try lines(permuted.image, permuted)
    }

    private func lines(_ image: borrowing KernelImage, _ permuted: borrowing PermutedImage) throws -> [Line] {
        let resolver = try Addresses(image)
        var lines: [Line] = []
        for text in addresses {
            let virtual = try resolver.range(text, in: image).lowerBound
            guard let physical = permuted.table.physicalAddress(of: virtual) else {
                throw CommandFailure.input("\(text): \(virtual) lies outside the image")
            }
            lines.append(Line(input: text, virtual: virtual.description, physical: physical.description))
        }
        return lines
    }
}
