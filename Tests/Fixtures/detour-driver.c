// SPDX-License-Identifier: MIT

/*
 * Calls a function of a small linked kernel in an ordinary process:
 *
 *     detour-driver IMAGE OFFSET REPEATS THREADS AFTER REGISTERS...
 *
 * IMAGE is put at a fixed address, 2 GB and more from everything else. REGISTERS
 * are 16 general registers by number (rsp is left out of it) and the flags, in
 * hexadecimal. Prints them as they are after the last call, and writes the memory
 * to AFTER.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BASE ((char *)0x7e0000000000)

struct registers {
	uint64_t general[16];
	uint64_t flags;
};

void call(struct registers *registers, const void *target);

asm(".text\n"
    ".globl call\n"
    "call:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	push %rdi; push %rsi\n"
    "	push 128(%rdi); popfq\n"
    "	mov (%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
    "	mov 40(%rdi), %rbp; mov 48(%rdi), %rsi\n"
    "	mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"
    "	mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n"
    "	mov 56(%rdi), %rdi\n"
    "	.byte 0xff, 0x14, 0x24\n" /* call *(%rsp) */
    "	pushfq; push %rdi\n"
    "	mov 24(%rsp), %rdi\n"
    "	mov %rax, (%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi)\n"
    "	mov %rbp, 40(%rdi); mov %rsi, 48(%rdi)\n"
    "	mov %r8, 64(%rdi); mov %r9, 72(%rdi); mov %r10, 80(%rdi); mov %r11, 88(%rdi)\n"
    "	mov %r12, 96(%rdi); mov %r13, 104(%rdi); mov %r14, 112(%rdi); mov %r15, 120(%rdi)\n"
    "	pop 56(%rdi); pop 128(%rdi)\n"
    "	add $16, %rsp\n"
    "	cld\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n");

static struct registers given, after;
static const char *target;
static long repeats;

static void *work(void *nothing)
{
	struct registers registers;

	(void)nothing;
	for (long i = 0; i < repeats; i++) {
		registers = given;
		call(&registers, target);
	}
	after = registers;
	return 0;
}

int main(int count, char **words)
{
	struct stat status;
	int file = count == 6 + 17 ? open(words[1], O_RDONLY) : -1;

	if (file < 0 || fstat(file, &status) != 0)
		return 2;
	char *memory = mmap(BASE, status.st_size, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_FIXED_NOREPLACE, file, 0);
	if (memory != BASE)
		return 2;
	target = memory + strtol(words[2], 0, 0);
	repeats = atol(words[3]);
	for (int i = 0; i < 17; i++)
		((uint64_t *)&given)[i] = strtoull(words[6 + i], 0, 16);
	pthread_t threads[8];
	int threadCount = atoi(words[4]);

	for (int i = 0; i < threadCount; i++)
		pthread_create(&threads[i], 0, work, 0);
	for (int i = 0; i < threadCount; i++)
		pthread_join(threads[i], 0);
	for (int i = 0; i < 17; i++)
		printf("%llx\n", (unsigned long long)((uint64_t *)&after)[i]);
	int out = open(words[5], O_WRONLY | O_CREAT | O_TRUNC, 0600);

	return out < 0 || write(out, memory, status.st_size) != status.st_size;
}
