/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The way from the kernel's start into the boot area and back, and later the
 * line in the log and the file in debugfs. It lies in padding of kernel text,
 * wherever the tool finds a page of it, and needs no relocation: each parameter
 * is the distance of something from `parameters`, both as linked, and zero where
 * the kernel lacks it. boot.h describes the area.
 */

        .set    AREA_VERSION, 8         /* in the header of the area */
        .set    AREA_PROVIDED, 12
        .set    AREA_CHECKSUM, 16
        .set    AREA_SIZE, 24
        .set    AREA_CONSTANTS, 0x100
        .set    AREA_LEVEL2, 0x120      /* level2_kernel_pgt - _text */
        .set    AREA_STATUS, 0x15c
        .set    AREA_ENTRY, 0x16c
        .set    AREA_FRONT, 0x178
        .set    HEADER_BYTES, 0x200
        .set    MOST_BYTES, 16 << 20    /* of an area that can be believed */
        .set    COMMAND_LINE_BYTES, 2048
        .set    SERIAL_PORT, 0x3f8
        .set    LARGE_AND_PRESENT, 0x81 /* in an entry of a page table */
        .set    GLOBAL, 0x100

        .text
        .code64
        .globl  parameters, run, back, announce, end

parameters:
area:               .quad 0     /* the boot area */
memblock_reserve:   .quad 0
start_kernel:       .quad 0     /* where the call led that now leads here */
printk:             .quad 0
first_initcall:     .quad 0     /* the initcall whose entry leads here */
create_blob:        .quad 0     /* debugfs_create_blob */
page_offset_base:   .quad 0
phys_base:          .quad 0
text:               .quad 0     /* _text */
command_line:       .quad 0     /* boot_command_line */

/* Not a parameter: physical address of the area once it has been found whole. */
found:              .quad 0

/* Entered by the call of start_kernel, when .bss has been cleared; goes on there with all registers as they were. */
        .balign 16
run:
        endbr64
        pushfq
        push    %rax
        push    %rcx
        push    %rdx
        push    %rbx
        push    %rbp
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        push    %r12
        push    %r13
        push    %r14
        mov     %rsp, %rbx
        and     $-16, %rsp
        cld
        lea     parameters(%rip), %rbp

        /* physical address = virtual address - __START_KERNEL_map + phys_base */
        mov     area(%rip), %r14
        add     %rbp, %r14
        mov     phys_base(%rip), %rax
        mov     %r14, %r12
        sub     $-0x80000000, %r12
        add     (%rbp, %rax), %r12
        call    direct_map
        lea     (%rax, %r12), %r13

        /* Is it what the tool left there? Memory encryption, for one, works in the same place. */
        movabs  $0x3154424d5245504b, %rax /* "KPERMBT1" */
        cmp     %rax, (%r13)
        jne     overwritten
        cmpl    $1, AREA_VERSION(%r13)
        jne     overwritten
        mov     AREA_PROVIDED(%r13), %ecx
        mov     AREA_SIZE(%r13), %rsi
        cmp     $MOST_BYTES, %rsi
        ja      overwritten
        cmp     %rsi, %rcx
        ja      overwritten
        cmp     $HEADER_BYTES, %ecx
        jb      overwritten
        xor     %eax, %eax
        mov     $AREA_CONSTANTS, %edx
1:      add     (%r13, %rdx), %rax
        add     $8, %edx
        cmp     %ecx, %edx
        jb      1b
        cmp     AREA_CHECKSUM(%r13), %rax
        jne     overwritten

        /* Show it where it was linked to be, with the flags that text has. The mapping is linear: an entry less its
           number times 2 MB is the same for all. Entries that are there already show the end of the image. */
        mov     text(%rip), %rsi
        add     %rbp, %rsi
        mov     AREA_LEVEL2(%r13), %rdi
        add     %rsi, %rdi
        mov     %rsi, %rax
        shr     $21, %rax
        and     $511, %eax
        mov     (%rdi, %rax, 8), %r8
        mov     %r8d, %ecx
        and     $LARGE_AND_PRESENT, %ecx
        cmp     $LARGE_AND_PRESENT, %ecx
        jne     overwritten
        and     $~GLOBAL, %r8
        shl     $21, %rax
        sub     %rax, %r8
        mov     %r14, %rcx
        shr     $21, %rcx
        and     $511, %ecx
        mov     AREA_SIZE(%r13), %rdx
        lea     -1(%r14, %rdx), %rdx
        shr     $21, %rdx
        and     $511, %edx
2:      testb   $1, (%rdi, %rcx, 8)
        jnz     3f
        mov     %rcx, %rax
        shl     $21, %rax
        add     %r8, %rax
        mov     %rax, (%rdi, %rcx, 8)
3:      inc     %ecx
        cmp     %edx, %ecx
        jbe     2b

        mov     %r14, %rdi
        mov     AREA_ENTRY(%r13), %eax
        add     %r14, %rax
        call    *%rax

        mov     %r12, found(%rip)
        mov     %r12, %rdi
        mov     AREA_SIZE(%r14), %rsi
        sub     AREA_FRONT(%r14), %rdi
        add     AREA_FRONT(%r14), %rsi
        mov     memblock_reserve(%rip), %rax
        add     %rbp, %rax
        call    *%rax

leave:
        mov     start_kernel(%rip), %rax
        add     %rbp, %rax
        mov     %rbx, %rsp
        /* the target takes the place of the flags, which come back last */
        xchg    14*8(%rsp), %rax
        push    %rax
        popfq
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rbp
        pop     %rbx
        pop     %rdx
        pop     %rcx
        pop     %rax
back:   ret

/* Unpermuted, unless the command line says that this must not be. */
overwritten:
        mov     command_line(%rip), %rdx
        test    %rdx, %rdx
        jz      leave
        add     %rbp, %rdx
        mov     %rdx, %r8
        mov     $COMMAND_LINE_BYTES, %eax
1:      lea     required(%rip), %rsi
        mov     %rdx, %rdi
        mov     $(required_end - required), %ecx
        repe cmpsb
        jne     5f
        cmpb    $' ', (%rdi)            /* a whole word, at the end */
        ja      5f
        cmp     %r8, %rdx
        je      halt
        cmpb    $' ', -1(%rdx)
        je      halt
5:      cmpb    $0, (%rdx)
        je      leave
        inc     %rdx
        dec     %eax
        jnz     1b
        jmp     leave

halt:
        lea     overwritten_line+2(%rip), %rsi  /* behind the level */
2:      mov     $100000, %ecx
3:      mov     $(SERIAL_PORT + 5), %edx
        in      %dx, %al
        test    $0x20, %al
        loopz   3b
        lodsb
        mov     $SERIAL_PORT, %edx
        out     %al, %dx
        test    %al, %al
        jnz     2b
4:      cli
        hlt
        jmp     4b

/* Gives in rax the virtual address of physical address 0. */
direct_map:
        mov     page_offset_base(%rip), %rax
        test    %rax, %rax
        jz      1f
        mov     (%rbp, %rax), %rax
        ret
1:      movabs  $0xffff888000000000, %rax
        ret

/* Entered as an initcall, when printk and debugfs work; goes on to the one whose place it took. */
        .balign 16
announce:
        endbr64
        push    %rbp
        push    %rbx
        push    %r12
        lea     parameters(%rip), %rbp
        mov     found(%rip), %rbx
        test    %rbx, %rbx
        jz      1f
        call    direct_map
        add     %rax, %rbx
        mov     AREA_STATUS(%rbx), %eax
        add     %rax, %rbx

1:      mov     printk(%rip), %r12
        test    %r12, %r12
        jz      3f
        add     %rbp, %r12
        lea     overwritten_line(%rip), %rdi
        test    %rbx, %rbx
        jz      2f
        lea     line(%rip), %rdi
        lea     16(%rbx), %rsi
2:      xor     %eax, %eax
        call    *%r12

3:      mov     create_blob(%rip), %r12
        test    %r12, %r12
        jz      4f
        test    %rbx, %rbx
        jz      4f
        add     %rbp, %r12
        lea     16(%rbx), %rax
        mov     %rax, (%rbx)
        lea     name(%rip), %rdi
        mov     $0400, %esi
        xor     %edx, %edx
        mov     %rbx, %rcx
        call    *%r12

4:      mov     first_initcall(%rip), %rax
        add     %rbp, %rax
        pop     %r12
        pop     %rbx
        pop     %rbp
        jmp     *%rax

overwritten_line:
        .asciz  "\0016kperm: not permuted: the boot area was overwritten or cannot be mapped\n"
line:   .asciz  "\0016kperm: %s"
name:   .asciz  "kperm"
required:
        .ascii  "kperm=require"
required_end:

        .balign 16
end:
