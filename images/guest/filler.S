// SPDX-License-Identifier: MIT

// Pages worth permuting: each carries what tells it from every other page, so that a page in a wrong
// frame is seen at once. Word i of filler number c is (c << 20 | i) * the golden ratio's odd fraction;
// Filler.swift computes the same. A text page is one function that fills it: it returns the number of
// its page, and its words are nops that carry a part of that value: on x86-64 its low half, on RISC-V 40 bits.

#define PAGE 4096
#define PAGES 40
#define INIT_PAGES 12
#define GOLDEN 0x9e3779b97f4a7c15

#define BEGIN(name, kind) .balign PAGE; .globl name, name##_end; .type name, kind; name
#define END(name) .size name, . - name; name##_end

    .macro words number, pages
    .set .Lword, \number << 20
    .rept \pages * PAGE / 8
    .quad .Lword * GOLDEN
    .set .Lword, .Lword + 1
    .endr
    .endm

    .section .filler.text, "ax", @progbits
    .balign PAGE
    .globl filler_text, filler_text_end
filler_text:
    .set .Lpage, 0
    .rept PAGES
    .globl filler_text_\+
    .type filler_text_\+, @function
filler_text_\+:
#ifdef __riscv
    .word 0x513 | .Lpage << 20          // li a0, page
    .word 0x13                          // nop
    .set .Lword, .Lpage * PAGE / 8 + 1
    .rept PAGE / 8 - 2
    .word 0x37 | (.Lword * GOLDEN & 0xfffff) << 12          // lui zero, bits
    .word 0x37 | (.Lword * GOLDEN >> 20 & 0xfffff) << 12
    .set .Lword, .Lword + 1
    .endr
    .word 0x00008067                    // ret
    .word 0x00100073                    // ebreak
#else
    .byte 0xb8                          // mov $page, %eax
    .long .Lpage
    .byte 0x0f, 0x1f, 0x00              // nopl (%rax)
    .set .Lword, .Lpage * PAGE / 8 + 1
    .rept PAGE / 8 - 2
    .byte 0x0f, 0x1f, 0x84, 0x00        // nopl disp32(%rax,%rax)
    .long .Lword * GOLDEN & 0xffffffff
    .set .Lword, .Lword + 1
    .endr
    ret
    .fill 7, 1, 0xcc
#endif
    .size filler_text_\+, . - filler_text_\+
    .set .Lpage, .Lpage + 1
    .endr
filler_text_end:

    .section .rodata, "a", @progbits
    .balign 8
    .globl filler_text_calls
    .type filler_text_calls, @object
filler_text_calls:
    .rept PAGES
    .quad filler_text_\+
    .endr
    .size filler_text_calls, . - filler_text_calls

    .section .filler.rodata, "a", @progbits
BEGIN(filler_rodata, @object):
    words 1, PAGES
END(filler_rodata):

    .section .filler.data, "aw", @progbits
BEGIN(filler_data, @object):
    words 2, PAGES
END(filler_data):

    .section .filler.init, "aw", @progbits
BEGIN(filler_init, @object):
    words 3, INIT_PAGES
END(filler_init):

    .section .filler.bss, "aw", @nobits
BEGIN(filler_bss, @object):
    .skip PAGES * PAGE
END(filler_bss):

    .section .note.GNU-stack, "", @progbits
