// SPDX-License-Identifier: GPL-2.0-only

/*
 * The first instruction of the code in the boot area, called by the trampoline
 * on the kernel's stack, with interrupts off. Here is all that takes privileges.
 */

#include "boot.h"

#define CR4_PGE (1ull << 7)
#define MSR_EFER 0xc0000080
#define SERIAL_PORT 0x3f8
#define LINE_STATUS (SERIAL_PORT + 5)
#define CAN_SEND 0x20
#define STACK_USED 2048

#define READ_CONTROL(name)                                   \
	static u64 read_##name(void)                         \
	{                                                    \
		u64 value;                                   \
		asm volatile("mov %%" #name ", %0" : "=r"(value)); \
		return value;                                \
	}
READ_CONTROL(cr3)
READ_CONTROL(cr4)

static u64 read_efer(void)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_EFER));
	return (u64)high << 32 | low;
}

/* Drops global entries too: the kernel's early mapping is global. */
void flush(void)
{
	u64 cr4 = read_cr4();

	asm volatile("mov %0, %%cr4" : : "r"(cr4 ^ CR4_PGE) : "memory");
	asm volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
	asm volatile("mov %0, %%cr3" : : "r"(read_cr3()) : "memory");
}

static u8 in(u16 port)
{
	u8 value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* Where no serial port answers, this ends all the same. */
static void print(const char *text)
{
	for (; *text; text++) {
		for (u32 tries = 0; tries < 100000 && !(in(LINE_STATUS) & CAN_SEND); tries++)
			;
		asm volatile("outb %0, %1" : : "a"((u8)*text), "Nd"((u16)SERIAL_PORT));
	}
}

static void __attribute__((noreturn)) halt(struct machine *m)
{
	print("kperm: halted, as kperm=require says: ");
	print(m->status ? m->status->text : "the boot area has no room for the status\n");
	print("\r");
	for (;;)
		asm volatile("cli; hlt");
}

/* What the functions called before have left below the stack pointer. */
static void __attribute__((noinline)) wipe_stack(void)
{
	u64 bytes = STACK_USED;
	u64 top;

	asm volatile("lea -%c3(%%rsp), %%rdi\n\trep stosb"
		     : "=&D"(top), "+c"(bytes) : "a"(0), "i"(STACK_USED) : "memory");
}

static u32 __attribute__((noinline)) run(struct area *area, u64 text)
{
	struct machine m;

	m.area = area;
	m.text = text;
	m.physical = text - START_KERNEL_MAP + image_word(text, area->phys_base);
	m.area_physical = m.physical + ((u64)area - text);
	m.direct = area->page_offset_base ? image_word(text, area->page_offset_base) : PAGE_OFFSET_BASE;
	m.stack = (u64)&m;
	m.cr3 = read_cr3();
	m.cr4 = read_cr4();
	m.efer = read_efer();

	u32 state = permute(&m);

	if (state == HALTED)
		halt(&m);
	return m.options.wait;
}

__attribute__((section(".text.entry"))) void entry(struct area *area, u64 text)
{
	asm volatile("cld");
	u32 wait = run(area, text);

	wipe_stack();
	while (wait && !*(volatile u32 *)&area->go)
		asm volatile("pause");
}
