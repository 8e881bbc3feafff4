// SPDX-License-Identifier: MIT

// A buffer as drivers have them that were never meant for a permuted kernel: static, and where the linker
// happened to put it, across the border of two pages. What is around it is nobody's.

#define PAGE 4096

    .section .data.sector_buffer, "aw", @progbits
    .balign PAGE
    .fill PAGE - 256, 1, 0
    .globl sector_buffer
    .type sector_buffer, @object
sector_buffer:
    .fill 512, 1, 0xb5                  // untouched
    .size sector_buffer, . - sector_buffer
    .balign PAGE

    .section .note.GNU-stack, "", @progbits
