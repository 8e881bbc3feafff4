/* SPDX-License-Identifier: MIT */

/*
 * What programs for a guest's userspace begin with: an ELF header, so that the
 * program is one flat block of bytes, a way into the kernel, and the two functions
 * that a compiler may call. Each has a function `program`, which is given the
 * stack as the kernel made it and gives the exit status.
 */

#ifndef PROGRAM_H
#define PROGRAM_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define BASE 0x400000

asm(".section .header, \"ax\"\n"
    "file: .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0\n"
    ".quad 0\n"
    ".word 2, 62\n"
    ".long 1\n"
    ".quad start, 64, 0\n"
    ".long 0\n"
    ".word 64, 56, 1, 0, 0, 0\n"
    ".long 1, 5\n"
    ".quad 0, file, file, end - file, end - file, 4096\n"
    "start: movq %rsp, %rdi\n"
    "andq $-16, %rsp\n"
    "call program\n"
    "movl %eax, %edi\n"
    "movl $60, %eax\n"
    "syscall\n"
    ".text\n");

static s64 call(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	register u64 r10 asm("r10") = d;
	register u64 r8 asm("r8") = e;
	register u64 r9 asm("r9") = 0;
	s64 result;

	asm volatile("syscall"
		     : "=a"(result)
		     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return result;
}

/* The compiler may call these two, whatever we write. */
void *memset(void *to, int byte, u64 count)
{
	for (volatile u8 *at = to; count--; at++)
		*at = (u8)byte;
	return to;
}

void *memcpy(void *to, const void *from, u64 count)
{
	volatile u8 *at = to;

	for (const u8 *source = from; count--; at++)
		*at = *source++;
	return to;
}

#endif
