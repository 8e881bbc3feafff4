/* SPDX-License-Identifier: MIT */

/*
 * The boot stub of a baked permutation on x86-64. The page tables are already in
 * the image and in use when it runs; it only tells the kernel that the memory
 * behind the image, where they and the translation table lie, is taken, and
 * later says in the log and in debugfs that this kernel is permuted.
 *
 * It lies between text and rodata: executable until the kernel has booted, then
 * freed with that gap. The tool fills in the parameters; a zero means that the
 * kernel lacks the function, and the step is left out.
 */

        .text
        .code64
        .globl  parameters, reserve, announce, end

parameters:
reserved_base:      .quad 0     /* physical address of what lies behind the image */
reserved_size:      .quad 0     /* its size in bytes */
memblock_reserve:   .quad 0
start_kernel:       .quad 0     /* where the call led that now leads here */
printk:             .quad 0
message:            .quad 0     /* virtual address of the line for the log */
first_initcall:     .quad 0     /* the initcall whose entry leads here */
create_blob:        .quad 0     /* debugfs_create_blob */
blob_name:          .quad 0     /* virtual address of the file's name */
page_offset_base:   .quad 0     /* virtual address of the variable */
blob:               .quad 0     /* physical address: pointer, size, then the text */

/* Entered by the call of start_kernel, when .bss has been cleared; goes on there with all registers as they were. */
        .balign 16
reserve:
        endbr64
        push    %rbx
        push    %rax
        push    %rcx
        push    %rdx
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        mov     %rsp, %rbx
        and     $-16, %rsp
        mov     reserved_base(%rip), %rdi
        mov     reserved_size(%rip), %rsi
        mov     memblock_reserve(%rip), %rax
        call    *%rax
        mov     %rbx, %rsp
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rdx
        pop     %rcx
        pop     %rax
        pop     %rbx
        jmp     *start_kernel(%rip)

/* Entered as an initcall, when printk and debugfs work; goes on to the one whose place it took. */
        .balign 16
announce:
        endbr64
        push    %rbx
        mov     printk(%rip), %r11
        test    %r11, %r11
        jz      1f
        mov     message(%rip), %rdi
        xor     %eax, %eax
        call    *%r11
1:      mov     create_blob(%rip), %r11
        test    %r11, %r11
        jz      2f
        mov     page_offset_base(%rip), %rax
        mov     blob(%rip), %rcx
        add     (%rax), %rcx
        lea     16(%rcx), %rax
        mov     %rax, (%rcx)
        mov     blob_name(%rip), %rdi
        mov     $0400, %esi
        xor     %edx, %edx
        call    *%r11
2:      pop     %rbx
        jmp     *first_initcall(%rip)

        .balign 16
end:
