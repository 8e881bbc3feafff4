// SPDX-License-Identifier: MIT

// Stock kernels as they would be without CONFIG_KALLSYMS_ALL: every name that is
// no function's is dropped, and what is recovered is held against what was there.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import Testing

@testable import KernelRewrite

@Suite(.serialized, .enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set"))
struct FunctionsOnlyTests {
    /// What an unpacked vmlinuz knows, and what it would know.
    private struct Tables {
        let all: SymbolTable
        let functions: SymbolTable

        init(_ image: borrowing KernelImage) throws {
            all = try #require(try image.kallsyms())
            let found = all.find(["_stext", "_etext", "_sinittext", "_einittext"], in: image).mapValues { $0[0].value }
            func range(_ start: String, _ end: String) throws -> ClosedRange<VirtualAddress> {
                try #require(found[start])...(try #require(found[end]))
            }
            functions = all.functions(in: [try range("_stext", "_etext"), try range("_sinittext", "_einittext")])
        }
    }

    @Test(arguments: ["cloud", "generic", "rt"]) func sameKernel(flavour: String) throws {
        let kernel = try CompressedKernel.open(try DebianVmlinuz.fetch(flavour))
        let tables = try Tables(kernel.kernel)
        #expect(tables.all.symbols.count > tables.functions.symbols.count + 30_000)
        let known = try X86_64.analyse(kernel.kernel, tables.all)
        let own = try X86_64.analyse(kernel.kernel, tables.functions)
        #expect(own.map.virtualRange == known.map.virtualRange)
        #expect(own.release == known.release)
        #expect(own.classes == known.classes)
        #expect(own.exclusions == known.exclusions)
        #expect(own.stubEnd == known.stubEnd && own.rootTable == known.rootTable)
        for name in Rules.allSymbols {
            let before = Set(known.symbols.all(name).map(\.address))
            let after = Set(own.symbols.all(name).map(\.address))
            guard !after.isEmpty else { continue }
            #expect(before.isSubset(of: after), "\(name): \(after) where \(before) was")
            if Rules.planSymbols.contains(name) { #expect(before == after, "\(name)") }
        }
        let (pinned, pinnedByOwn) = (Set(known.pins.flatMap(\.pages)), Set(own.pins.flatMap(\.pages)))
        let lost = pinned.subtracting(pinnedByOwn).subtracting(known.exclusions.flatMap(\.pages))
        #expect(lost == [], "\(known.pins.filter { pin in lost.contains { pin.pages.contains($0) } })")
        let movable = Double(own.countedPages - own.pinnedPages) / Double(own.countedPages)
        print(
            "\(flavour): \(known.pinnedPages) pinned with all names, \(own.pinnedPages) with functions only, "
                + "\(own.countedPages) counted, \(100 * movable) % can move")
        #expect(movable >= 0.97)
        let request = Request(seedSource: "boot")
        let (a, b) = (
            try BootPlan.make(kernel, request, seed: nil, tool: "test", analysis: known),
            try BootPlan.make(kernel, request, seed: nil, tool: "test", analysis: own)
        )
        // The area holds what may move; all other bytes are the same.
        #expect(a.changes.dropFirst() == b.changes.dropFirst())
        #expect(a.remarks == b.remarks)
    }
}
