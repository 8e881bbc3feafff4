// SPDX-License-Identifier: MIT

// From the firmware's door to Swift, as Linux goes (arch/riscv/kernel/head.S): with the MMU off at first, so that
// what the code below touches before it jumps to a virtual address must keep its frame.
//
// One set of page tables serves the three paging modes. The kernel lies at the top of the addresses in each, where
// all bits above are ones, and memory at the bottom, where they are zeros: so the root table of Sv39 is the second
// level of Sv48, and its root the second level of Sv57. The deepest mode is used that the processor takes and that no
// word on the command line forbids: no5lvl and no4lvl, as in Linux from 6.4 on.

#define START_KERNEL_map 0xffffffff80000000
#define PAGE 4096
#define STACK_BYTES (4 * PAGE)
#define LEVEL1_TABLES 2

// Entries: valid, readable, writable, executable, global, accessed, dirty.
#define TABLE 0x01
#define TEXT 0xeb
#define DATA 0xe7
#define LARGE 0xcf

#define FUNCTION(name) .globl name; .type name, @function; name
#define OBJECT(name) .globl name; .type name, @object; name
#define END(name) .size name, . - name

    // An entry of a table of addresses: one that leads to another table, and one that shows 1 GB.
    .macro lead table, slot, to
    lla t0, \table + \slot * 8
    lla t1, \to
    srli t1, t1, 2
    ori t1, t1, TABLE
    sd t1, 0(t0)
    .endm
    .macro show table, gigabyte
    lla t0, \table + \gigabyte * 8
    li t1, (\gigabyte << 28) | LARGE
    sd t1, 0(t0)
    .endm

    // Goes on at the virtual address of a label near by.
    .macro jump_to_virtual label
    lla t0, \label
    lla t1, _start
    sub t0, t0, t1
    li t1, START_KERNEL_map
    add t0, t0, t1
    jr t0
    .endm

    .macro try levels, table
    li t0, \levels
    bltu s3, t0, .Lnext\@
    lla t0, \table
    srli t0, t0, 12
    li t1, (\levels + 5) << 60
    or t0, t0, t1
    sfence.vma
    csrw satp, t0
    csrr t1, satp
    beq t0, t1, mode_found
.Lnext\@:
    .endm

    // Goes on only if t1 + \distance is where a character is.
    .macro expect character, distance, otherwise
    lbu t2, \distance(t1)
    li t3, \character
    bne t2, t3, \otherwise
    .endm

    .section .head.text, "ax", @progbits
FUNCTION(start_here):
    // The hart in a0, the device tree in a1.
    csrw sie, zero
    mv s0, a0
    mv s1, a1

    // Words that forbid levels are looked for in all of the tree; its size is a big-endian number.
    li s3, 5
    mv t1, a1
    lbu t0, 5(a1)
    lbu t2, 6(a1)
    slli t0, t0, 8
    or t0, t0, t2
    slli t0, t0, 8
    add t0, t0, a1
7:
    addi t1, t1, 1
    bgeu t1, t0, 8f
    expect 'n', 0, 7b
    expect 'o', 1, 7b
    expect 'l', 3, 7b
    expect 'v', 4, 7b
    expect 'l', 5, 7b
    lbu t2, 2(t1)
    addi t2, t2, -'0' - 1
    bgeu t2, s3, 7b
    mv s3, t2
    j 7b
8:
    // One entry a page, in the frame that kperm's table says if there is one.
    lla t0, kperm_table
    ld s2, 0(t0)
    beqz s2, 1f
    addi s2, s2, 40                     // the first frame number: Sources/PagePermutation/TableLookup.swift
1:
    lla t0, early_level1
    lla t6, _start
    lla t1, _end
    sub t1, t1, t6
    srli t1, t1, 12                     // pages
    lla t2, _etext
    sub t2, t2, t6
    srli t2, t2, 12                     // of them text
    srli t6, t6, 12                     // the first frame
    li t3, 0
2:
    mv t4, t3
    beqz s2, 3f
    lwu t4, 0(s2)
    addi s2, s2, 4
3:
    add t4, t4, t6
    slli t4, t4, 10
    ori t4, t4, TEXT
    bltu t3, t2, 4f
    xori t4, t4, TEXT ^ DATA
4:
    sd t4, 0(t0)
    addi t0, t0, 8
    addi t3, t3, 1
    bltu t3, t1, 2b

    lead early_level2, 0, early_level1
    lead early_level2, 1, early_level1 + PAGE
    show early_level3, 0                // devices
    show early_level3, 2                // memory
    lead early_level3, 510, early_level2
    lead early_level4, 0, early_level3
    lead early_level4, 511, early_level3
    lead early_level5, 0, early_level4
    lead early_level5, 511, early_level4

    try 5, early_level5
    try 4, early_level4
    try 3, early_level3
    j halt
mode_found:
    sfence.vma
    lla t1, early_satp
    sd t0, 0(t1)
    jump_to_virtual 5f
5:
    // At the virtual address: from here on every page may lie in any frame.
    lla t0, halt
    csrw stvec, t0
    lla sp, init_thread_union + STACK_BYTES
    lla t0, __bss_start
    lla t1, __bss_stop
6:
    sd zero, 0(t0)
    addi t0, t0, 8
    bltu t0, t1, 6b
    lla t0, boot_hart
    sd s0, 0(t0)
    mv a0, s1
    call start_kernel
    j halt
END(start_here)

    .balign 4
FUNCTION(halt):
    wfi
    j halt
END(halt)

FUNCTION(secondary_start_sbi):
    // The other harts, with the MMU off: they take the first one's page tables, and say that they are there.
    csrw sie, zero
    lla t0, early_satp
    ld t0, 0(t0)
    sfence.vma
    csrw satp, t0
    sfence.vma
    jump_to_virtual 1f
1:
    lla t0, halt
    csrw stvec, t0
    lla t0, harts_up
    li t1, 1
    amoadd.d zero, t1, (t0)
    j halt
END(secondary_start_sbi)

    .text
FUNCTION(linear_physical):
    // As in Linux without a table, and as wrong there as here for a page that was moved.
    lla t0, va_kernel_pa_offset
    ld t0, 0(t0)
    sub a0, a0, t0
    ret
END(linear_physical)

FUNCTION(memset):
    // The compiler may call it.
    mv t0, a0
    add a2, a0, a2
1:
    bgeu t0, a2, 2f
    sb a1, 0(t0)
    addi t0, t0, 1
    j 1b
2:
    ret
END(memset)

    .section .data..page_aligned, "aw", @progbits
    .balign PAGE
OBJECT(early_level5):
    .fill PAGE
END(early_level5)
OBJECT(early_level4):
    .fill PAGE
END(early_level4)
OBJECT(early_level3):
    .fill PAGE
END(early_level3)
OBJECT(early_level2):
    .fill PAGE
END(early_level2)
OBJECT(early_level1):
    .fill LEVEL1_TABLES * PAGE
END(early_level1)

    // Used with the MMU off, and by harts that come later.
OBJECT(early_satp):
    .quad 0
END(early_satp)
OBJECT(kperm_table):
    .quad 0                             // the physical address of the translation table: kperm writes it
END(kperm_table)
    .balign PAGE
OBJECT(init_thread_union):
    .fill STACK_BYTES
END(init_thread_union)

    .data
    .balign 8
OBJECT(va_kernel_pa_offset):
    .quad START_KERNEL_map - 0x80200000
END(va_kernel_pa_offset)
OBJECT(boot_hart):
    .quad 0
END(boot_hart)
OBJECT(harts_up):
    .quad 0
END(harts_up)

    .section .note.GNU-stack, "", @progbits
