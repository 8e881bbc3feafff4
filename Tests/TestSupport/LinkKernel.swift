// SPDX-License-Identifier: MIT

// Kernels of a few instructions, linked where Linux lies.

/// Assembles and links code as `vmlinux` in a directory: `.text` and `.data` at Linux's addresses, the entry at `start`.
/// `PA(symbol)` is a physical address; `FUNCTION(name):` and `END(name)` go around a function.
@discardableResult
public func linkKernel(_ assembler: String, in scratch: Scratch) throws -> String {
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
    return scratch["vmlinux"]
}
