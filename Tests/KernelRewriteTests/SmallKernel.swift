// SPDX-License-Identifier: MIT

// Kernels of a few instructions, assembled and linked where Linux lies: for the
// parts that read code, which want one function and not a whole kernel.

import Addressing
import Foundation
import KernelImage
import TestSupport
import Testing

@testable import KernelRewrite

/// An image made from assembler: `.text` and `.data` at Linux's addresses, the entry at `start`.
final class SmallKernel {
    static let virtualBase: UInt64 = 0xffff_ffff_8100_0000

    let image: KernelImage
    let map: PageMap
    let symbols: KernelSymbols
    let index: AddressIndex
    let table: SymbolTable
    private let scratch: Scratch

    init(_ assembler: String, names: [String] = []) throws {
        let scratch = try Scratch()
        try linkKernel(assembler, in: scratch)
        image = try KernelImage.open(scratch["vmlinux"])
        let table = try #require(try image.symbolTable())
        symbols = KernelSymbols(table, of: image, names: Rules.allSymbols.union(names))
        let start = try symbols.require("_text", for: "to test").address
        let end = try symbols.require("_end", for: "to test").address
        map = try PageMap(image, from: start, to: end)
        index = table.index(over: map.virtualRange)
        self.table = table
        self.scratch = scratch
    }

    private var data: DataObjects {
        DataObjects(
            index, table, image, largest: Rules.largestUnnamed, largestArray: Rules.largestArray,
            largestStack: Rules.largestStack)
    }

    func earlyCode() throws(RewriteError) -> EarlyCode { try EarlyCode(image, map, table, index, symbols, data) }

    func physicalConstants() throws(RewriteError) -> PhysicalConstants {
        try PhysicalConstants(image, map, table, index, symbols, data)
    }

    func textPoke() throws(RewriteError) -> Change? { try TextPoke.change(image, map, symbols) }

    /// The page a symbol lies in.
    func page(_ symbol: String) throws -> Int {
        let place = try #require(symbols.optional(symbol), "no symbol \(symbol)")
        return try #require(map.page(of: place.address))
    }
}

/// What a piece of work was refused with; nil when it was not.
func refusal(_ work: () throws(RewriteError) -> Void) -> String? {
    do {
        try work()
        return nil
    } catch {
        return "\(error)"
    }
}
