// SPDX-License-Identifier: MIT

// From the loader's door to Swift, along the path of Linux (arch/x86/platform/pvh/head.S,
// arch/x86/kernel/head_64.S), because kperm reads that path: what the code below touches before it
// jumps to a virtual address must keep its frame, and the call of start_kernel is where the boot stub hooks in.

#define START_KERNEL_map 0xffffffff80000000
#define PA(symbol) ((symbol) - START_KERNEL_map)
#define PAGE 4096
#define KERNEL_CS 0x10
#define KERNEL_DS 0x18
#define STACK_BYTES (4 * PAGE)

#define FUNCTION(name) .globl name; .type name, @function; name
#define OBJECT(name) .globl name; .type name, @object; name
#define END(name) .size name, . - name

    .section .head.text, "ax", @progbits
    .code64
FUNCTION(startup_64):
    // In long mode at the physical address, start info in %rdi.
    mov $PA(init_top_pgt), %eax
    mov %rax, %cr3
    movq $1f, %rax
    jmp *%rax
1:
    // At the virtual address: from here on every page may lie in any frame.
    mov %cr4, %rax
    or $0x80, %eax                      // PGE
    mov %rax, %cr4
    lgdt early_gdt_descr(%rip)
    mov $KERNEL_DS, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    movq $init_thread_union + STACK_BYTES, %rsp
    xor %ebp, %ebp
    movq initial_code(%rip), %rax
    pushq $KERNEL_CS
    pushq %rax
    lretq
END(startup_64)

    .code32
FUNCTION(pvh_start_xen):
    // In 32-bit protected mode without paging, start info in %ebx.
    cld
    lgdt PA(pvh_gdt_descr)
    mov $KERNEL_DS, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %cr4, %eax
    or $0x20, %eax                      // PAE
    mov %eax, %cr4
    mov $0xc0000080, %ecx               // EFER
    rdmsr
    or $0x100, %eax                     // LME
    wrmsr
    mov $PA(init_top_pgt), %eax
    mov %eax, %cr3
    mov $0x80000001, %eax               // PG, PE
    mov %eax, %cr0
    ljmp $KERNEL_CS, $PA(1f)
    .code64
1:
    mov %ebx, %edi
    jmp startup_64
END(pvh_start_xen)

    .text
FUNCTION(linear_physical):
    // As in Linux, and as wrong there as here for a page that was moved.
    mov phys_base(%rip), %rax
    sub $START_KERNEL_map, %rdi
    add %rdi, %rax
    ret
END(linear_physical)

    .section .init.text, "ax", @progbits
FUNCTION(x86_64_start_kernel):
    // Reached by a jump, through kperm's stub if there is one: nothing is known of the stack's alignment.
    and $-16, %rsp
    mov %rdi, %rsi
    movq $__bss_start, %rdi
    movq $__bss_stop, %rcx
    sub %rdi, %rcx
    xor %eax, %eax
    cld
    rep stosb
    mov %rsi, %rdi
    call start_kernel
1:
    cli
    hlt
    jmp 1b
END(x86_64_start_kernel)

    .section .notes, "a", @note
    .balign 4
    .long 2f - 1f, 4f - 3f, 18          // XEN_ELFNOTE_PHYS32_ENTRY
1:  .asciz "Xen"
2:  .balign 4
3:  .quad PA(pvh_start_xen)
4:

    // Data that the early code finds by physical address.
    .macro gdt
    .quad 0, 0
    .quad 0x00af9b000000ffff            // KERNEL_CS, 64-bit
    .quad 0x00cf93000000ffff            // KERNEL_DS
    .endm

    .section .init.data, "aw", @progbits
    .balign 8
OBJECT(pvh_gdt):
    gdt
END(pvh_gdt)
OBJECT(pvh_gdt_descr):
    .word pvh_gdt_descr - pvh_gdt - 1
    .long PA(pvh_gdt)
END(pvh_gdt_descr)

    // Page tables: the first GB as it is, and the first 512 MB once more at START_KERNEL_map.
#define TABLE 0x63                      // present, writable, accessed, dirty
#define LARGE 0xe3                      // the same, a 2 MB page
#define GLOBAL 0x100

    .macro large_pages count, flags
    .set .Lframe, 0
    .rept \count
    .quad .Lframe + \flags
    .set .Lframe, .Lframe + 0x200000
    .endr
    .endm

    .section .data..page_aligned, "aw", @progbits
    .balign PAGE
OBJECT(init_top_pgt):
    .quad PA(level3_ident_pgt) + TABLE
    .fill 510, 8, 0
    .quad PA(level3_kernel_pgt) + TABLE
END(init_top_pgt)
OBJECT(level3_ident_pgt):
    .quad PA(level2_ident_pgt) + TABLE
    .fill 511, 8, 0
END(level3_ident_pgt)
OBJECT(level2_ident_pgt):
    large_pages 512, LARGE
END(level2_ident_pgt)
OBJECT(level3_kernel_pgt):
    .fill 510, 8, 0
    .quad PA(level2_kernel_pgt) + TABLE
    .quad 0
END(level3_kernel_pgt)
OBJECT(level2_kernel_pgt):
    large_pages 256, LARGE + GLOBAL
    .fill 256, 8, 0
END(level2_kernel_pgt)
OBJECT(init_thread_union):
    .fill STACK_BYTES
END(init_thread_union)

    .data
    .balign 8
OBJECT(initial_code):
    .quad x86_64_start_kernel
END(initial_code)
OBJECT(early_gdt):
    gdt
END(early_gdt)
OBJECT(early_gdt_descr):
    .word early_gdt_descr - early_gdt - 1
    .quad early_gdt
END(early_gdt_descr)

OBJECT(phys_base):
    .quad 0                             // where the kernel lies less where it was linked to lie
END(phys_base)

    .section .brk, "aw", @nobits
    .balign PAGE
    .skip 2 * PAGE

    .section .note.GNU-stack, "", @progbits
