/* SPDX-License-Identifier: MIT */

/*
 * A program for x86-64 Linux that starts another kernel by kexec:
 *
 *     kexec KERNEL INITRAMFS COMMAND-LINE [crash]
 *
 * The first three must be given. It does not return when all goes well; else its
 * exit status is the error number of the call that failed. With a fourth word the
 * kernel is only loaded, to be started by a crash. It is a whole ELF file, header
 * included, so that the same bytes come out of every linker.
 */

        .text
        .code64

        .set    base, 0x400000
        .set    EXIT, 60
        .set    OPEN, 2
        .set    REBOOT, 169
        .set    KEXEC_FILE_LOAD, 320
        .set    KEXEC_FILE_ON_CRASH, 2

file:   .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0         /* 64 bits, little-endian */
        .quad   0
        .word   2, 62                                   /* ET_EXEC, EM_X86_64 */
        .long   1
        .quad   base + start - file
        .quad   segments - file, 0
        .long   0
        .word   64, 56, 1, 0, 0, 0
segments:
        .long   1, 5                                    /* PT_LOAD, to be read and executed */
        .quad   0, base, base, end - file, end - file, 4096

start:
        movq    16(%rsp), %rdi
        call    open
        movl    %eax, %r12d
        movq    24(%rsp), %rdi
        call    open
        movl    %eax, %esi
        movl    %r12d, %edi
        movq    32(%rsp), %r10
        xorl    %edx, %edx
1:      incq    %rdx                                    /* the length counts the zero at the end */
        cmpb    $0, -1(%r10, %rdx)
        jne     1b
        xorl    %r8d, %r8d
        cmpq    $5, (%rsp)
        jb      2f
        movl    $KEXEC_FILE_ON_CRASH, %r8d
2:      movl    $KEXEC_FILE_LOAD, %eax
        call    system
        xorl    %edi, %edi
        cmpq    $5, (%rsp)
        jae     exit
        movl    $0xfee1dead, %edi
        movl    $672274793, %esi
        movl    $0x45584543, %edx                       /* LINUX_REBOOT_CMD_KEXEC */
        movl    $REBOOT, %eax
        call    system
        ud2

open:   xorl    %esi, %esi                              /* O_RDONLY */
        movl    $OPEN, %eax
system: syscall
        testq   %rax, %rax
        js      1f
        ret
1:      movl    %eax, %edi
        negl    %edi
exit:   movl    $EXIT, %eax
        syscall
        ud2
end:
