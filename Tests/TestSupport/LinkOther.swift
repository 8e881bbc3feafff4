// SPDX-License-Identifier: MIT

// Kernels of a few instructions for other processors, linked as theirs are, with
// the relocations that made them beside.

/// Assembles and links code for `target` ("aarch64-linux-gnu", "riscv64-linux-gnu") as `vmlinux` in a directory, at an
/// address. `FUNCTION(name):` and `END(name)` go around a function.
@discardableResult
public func linkKernel(_ assembler: String, for target: String, at base: String, in scratch: Scratch) throws -> String {
    let prologue = """
        #define FUNCTION(name) .globl name; .type name, @function; name
        #define END(name) .size name, . - name
        .text
        .globl _text
        _text:

        """
    try write(Array((prologue + assembler + "\n").utf8), to: scratch["code.S"])
    let script = """
        ENTRY(start)
        SECTIONS {
            . = \(base);
            .text : { *(.text) }
            .rodata : ALIGN(0x1000) { *(.rodata) }
            .altinstructions : { *(.altinstructions) }
            .BTF : { *(.BTF) }
            .data : ALIGN(0x1000) { *(.data) }
        }

        """
    try write(Array(script.utf8), to: scratch["kernel.ld"])
    var options = ["clang", "--target=\(target)", "-c", scratch["code.S"], "-o", scratch["code.o"]]
    if target.hasPrefix("riscv") { options += ["-march=rv64imac", "-mno-relax"] }
    try runTool(options)
    try runTool(
        "ld.lld", "-static", "--emit-relocs", "-T", scratch["kernel.ld"], scratch["code.o"], "-o", scratch["vmlinux"])
    return scratch["vmlinux"]
}
