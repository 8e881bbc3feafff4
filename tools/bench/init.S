/* SPDX-License-Identifier: MIT */

/*
 * The first program in userspace, for timing boots: prints the time-stamp
 * counter as it starts, 16 hexadecimal digits behind "init: ", and reboots,
 * which ends the emulator. With instructions counted (-icount shift=0) QEMU
 * gives the guest's nanoseconds for the counter.
 */

        .globl  _start
        .text
_start:
        rdtsc
        shl     $32, %rdx
        or      %rax, %rdx
        mov     $16, %ecx
        lea     digits(%rip), %rdi
1:      rol     $4, %rdx
        mov     %edx, %eax
        and     $15, %eax
        add     $'0', %al
        cmp     $'9', %al
        jbe     2f
        add     $('a' - '9' - 1), %al
2:      stosb
        loop    1b
        mov     $1, %eax                /* write */
        mov     $1, %edi
        lea     line(%rip), %rsi
        mov     $(end - line), %edx
        syscall
        mov     $169, %eax              /* reboot */
        mov     $0xfee1dead, %edi
        mov     $0x28121969, %esi
        mov     $0x01234567, %edx
        syscall
3:      jmp     3b

        .data
line:   .ascii  "init: "
digits: .ascii  "0000000000000000\n"
end:
