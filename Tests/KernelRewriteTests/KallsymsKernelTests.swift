// SPDX-License-Identifier: MIT

// The kernel's own symbols against the symbol table of the same file: Debian's
// cloud kernel carries both. A vmlinuz has only the former, and a kernel must
// come apart in the same way with them.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import KernelRewrite

@Suite(.serialized, .enabled(if: ProcessInfo.processInfo.environment["KPERM_OFFLINE"] == nil, "KPERM_OFFLINE is set"))
struct KallsymsKernelTests {
    private static let fetched = Result {
        let lines = try runTool("\(checkout)/tools/fetch-kernel", "--flavour", "cloud", "--debug")
        let line = lines.split(separator: "\n").first { $0.hasPrefix("vmlinux_stripped=") }
        return String(try #require(line).dropFirst("vmlinux_stripped=".count))
    }

    private struct Named: Hashable {
        let name: String
        let address: UInt64
    }

    @Test func sameNamesAndAddresses() throws {
        let image = try KernelImage.open(try Self.fetched.get())
        let own = try #require(try image.kallsyms())
        let table = try #require(try image.symbolTable())
        var expected: Set<Named> = []
        var all: Set<Named> = []
        for symbol in table.symbols where symbol.section != 0 && symbol.kind != .section && symbol.kind != .file {
            let named = Named(name: table.name(of: symbol, in: image), address: symbol.value.rawValue)
            all.insert(named)
            if symbol.kind == .function || symbol.kind == .object { expected.insert(named) }
        }
        let found = Set(
            own.symbols.map { Named(name: own.name(of: $0, in: image), address: $0.value.rawValue) })
        #expect(found.count > 80000)
        #expect(found.subtracting(all) == [])
        #expect(expected.subtracting(found) == [])
        let hasRange = own.find(["_text", "_end"], in: image).count == 2
        #expect(hasRange)
    }

    /// Without sizes of their own, symbols reach to the next: that may pin more, never less. It does so for the first
    /// task's stack, which the symbol table calls a label without a size, and in .brk, which stays anyway.
    @Test func sameAnalysis() throws {
        let scratch = try Scratch()
        let path = try Self.fetched.get()
        try runTool("objcopy", "--strip-all", path, scratch["stripped"])
        let image = try KernelImage.open(path)
        let stripped = try KernelImage.open(scratch["stripped"])
        let hasTable = try stripped.symbolTable() != nil
        #expect(!hasTable)
        let (known, own) = (try KernelAnalysis.of(image), try KernelAnalysis.of(stripped))
        #expect(own.map.virtualRange == known.map.virtualRange)
        #expect(own.release == known.release)
        #expect(own.classes == known.classes)
        #expect(own.exclusions == known.exclusions)
        #expect(own.stubEnd == known.stubEnd && own.rootTable == known.rootTable)
        let stack = try #require(known.symbols.optional("init_stack")).address
        let stackPages = known.map.pages(of: stack..<stack + 16384)
        let staying = Set(known.exclusions.flatMap(\.pages)).union(stackPages)
        let (pinned, pinnedByOwn) = (Set(known.pins.flatMap(\.pages)), Set(own.pins.flatMap(\.pages)))
        #expect(pinned.subtracting(pinnedByOwn) == [])
        #expect(pinnedByOwn.subtracting(pinned).subtracting(staying) == [])
    }
}
