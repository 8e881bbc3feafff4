// SPDX-License-Identifier: MIT

// Kernels of a few instructions, assembled and linked where Linux lies: for the
// parts that read code, which want one function and not a whole kernel.

import Addressing
import Foundation
import KernelImage
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
        let prologue = """
            #define PA(symbol) ((symbol) - 0xffffffff80000000)
            #define FUNCTION(name) .globl name; .type name, @function; name
            #define END(name) .size name, . - name
            .text
            .globl _text
            _text:

            """
        try write(Array((prologue + assembler + "\n").utf8), to: scratch["code.S"])
        let script = """
            ENTRY(start)
            PHDRS { all PT_LOAD FLAGS(7); note PT_NOTE; }
            SECTIONS {
                . = 0xffffffff81000000;
                .text : AT(ADDR(.text) - 0xffffffff80000000) { *(.text) } :all
                . = ALIGN(0x1000);
                .other : AT(ADDR(.other) - 0xffffffff80000000) { *(.other) } :all
                . = ALIGN(0x1000);
                .data : AT(ADDR(.data) - 0xffffffff80000000) { *(.data) . = ALIGN(0x1000); QUAD(0) } :all
                .notes : AT(ADDR(.notes) - 0xffffffff80000000) { *(.notes) } :all :note
                _end = .;
            }

            """
        try write(Array(script.utf8), to: scratch["kernel.ld"])
        try runTool("clang", "--target=x86_64-unknown-none-elf", "-c", scratch["code.S"], "-o", scratch["code.o"])
        try runTool("ld.lld", "-static", "-T", scratch["kernel.ld"], scratch["code.o"], "-o", scratch["vmlinux"])
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
