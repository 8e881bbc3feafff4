// SPDX-License-Identifier: GPL-2.0-only

/*
 * kperm=require: says on the firmware's console, for there is no other yet, why there is
 * no permuted kernel, and halts. No other hart has been started.
 */

#include "boot.h"

enum { DEBUG_CONSOLE = 0x4442434e, WRITE_BYTE = 2, LEGACY_PUTCHAR = 1 };

static long firmware(long extension, long function, long argument)
{
	register long a0 asm("a0") = argument;
	register long a1 asm("a1") = 0;
	register long a6 asm("a6") = function;
	register long a7 asm("a7") = extension;

	asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a6), "r"(a7) : "memory");
	return a0;
}

/* Firmware that lacks the newer call has the older one. */
static void print(const char *text)
{
	for (; *text; text++)
		if (firmware(DEBUG_CONSOLE, WRITE_BYTE, *text))
			firmware(LEGACY_PUTCHAR, 0, *text);
}

void __noreturn stop(const char *reason)
{
	print("kperm: halted, as kperm=require says: not permuted: ");
	print(reason);
	print("\r\n");
	for (;;)
		asm volatile("wfi");
}
