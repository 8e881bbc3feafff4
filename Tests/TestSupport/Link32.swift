// SPDX-License-Identifier: MIT

// 32-bit kernels of numbered pages, laid out as Arm's and RISC-V's are: with the
// borders of each kind of memory, a gap behind the head, several small segments in
// one page (Arm's vectors), data and bss that share one.

/// Links such a kernel for `target` ("armv7-none-eabi", "riscv32-unknown-elf") as `vmlinux` in a directory.
@discardableResult
public func linkKernel32(for target: String, in scratch: Scratch) throws -> String {
    // Each page begins with its number, so that no two are alike.
    let pages = { (count: Int, from: Int) in
        """
        .set number, \(from)
        .rept \(count)
        .long number
        .fill 1023, 4, 0x5a5a5a5a
        .set number, number + 1
        .endr

        """
    }
    let code = """
        .section .head.text, "ax"
        .globl start
        start: .long 1, 2, 3, 4
        .text
        \(pages(24, 0x1000))
        .section .rodata, "a"
        .globl linux_banner
        .type linux_banner, %object
        linux_banner: .asciz "Linux version 9.8.7-small (test) #1 for 32 bits"
        .size linux_banner, . - linux_banner
        .balign 4096
        \(pages(12, 0x2000))
        .section .vectors, "ax"
        .long 7, 7, 7, 7
        .section .init.text, "ax"
        .fill 1016, 4, 0x01020304
        \(pages(8, 0x3000))
        .data
        \(pages(10, 0x4000))
        .long 5
        .bss
        .space 20480

        """
    let script = """
        ENTRY(start)
        PHDRS {
            head PT_LOAD FLAGS(5); text PT_LOAD FLAGS(5); rodata PT_LOAD FLAGS(4); vectors PT_LOAD FLAGS(5);
            init PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6);
        }
        SECTIONS {
            . = 0xc0208000;
            .head.text : { *(.head.text) } :head
            . = 0xc0210000;
            .text : { _stext = .; *(.text) _etext = .; } :text
            .rodata : ALIGN(0x1000) { __start_rodata = .; *(.rodata) __end_rodata = .; } :rodata
            __init_begin = ALIGN(0x1000);
            .vectors 0xffff0000 : AT(__init_begin) { *(.vectors) } :vectors
            .init.text __init_begin + 0x20 : AT(__init_begin + 0x20) { *(.init.text) } :init
            . = ALIGN(0x1000);
            __init_end = .;
            .data : AT(ADDR(.data)) { _sdata = .; *(.data) _edata = .; } :data
            .bss : { __bss_start = .; *(.bss) __bss_stop = .; } :data
            _end = .;
            /DISCARD/ : { *(.ARM.attributes) *(.riscv.attributes) }
        }

        """
    try write(Array(code.utf8), to: scratch["code.S"])
    try write(Array(script.utf8), to: scratch["kernel.ld"])
    let options = target.hasPrefix("riscv") ? ["-mno-relax"] : []
    try runTool(["clang", "--target=\(target)", "-c", scratch["code.S"], "-o", scratch["code.o"]] + options)
    try runTool("ld.lld", "-static", "-T", scratch["kernel.ld"], scratch["code.o"], "-o", scratch["vmlinux"])
    return scratch["vmlinux"]
}
