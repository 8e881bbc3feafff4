// SPDX-License-Identifier: GPL-2.0-only

/*
 * Runs the boot stub's C code in an ordinary process.
 *
 *     blake2b KEY MESSAGE      digest; both in hexadecimal, "-" for none
 *     chacha20 KEY COUNTER     one block of key stream
 *     boot AREA TABLE [NAME=VALUE ...]
 *     trampoline CODE RUN ANNOUNCE NAME [COMMAND-LINE]
 *     orders PAGES COUNT SEED  what it draws of one class of pages, COUNT times, from SEED and a number: the frame of each
 *                              page in 32 bits
 *
 * `boot` pretends a machine: some memory, physical address 0 at its start, in it an image whose pages bear their
 * numbers, page tables that show it as Linux's do, and a boot area read from a file. Then it says what became of that,
 * following the page tables as a processor would: of the table that translations ask, too. TABLE receives the translation table.
 *
 * `trampoline` has the trampoline pass through a pretended start of the kernel with an area that is whole or whose
 * magic, version, size, provided, checksum or page table NAME spoils, and says which functions it called with what.
 */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../images/stub/x86_64/boot.h"

#define MEMORY 0x7e0000000000ull
#define MEMORY_BYTES (256ull << 20)
/* Physical places of what lies outside the image. */
#define LEVEL2 0x100000ull
#define LEVEL3 0x101000ull
#define LEVEL4 0x102000ull
#define LEVEL5 0x103000ull
#define BOOT_PARAMS 0x104000ull
#define COMMAND_LINE 0x105000ull
#define SETUP_DATA 0x106000ull
#define EFI_SYSTEM 0x107000ull
#define EFI_TABLES 0x108000ull
#define EFI_SEED 0x109000ull
#define AREA 0x200000ull
/* of the area that the trampoline finds: it begins in one large page and ends in the next but one */
#define AREA_PAGES 1024ull
#define ADDRESS 0x000ffffffffff000ull

static u64 *words(u64 physical) { return (u64 *)(MEMORY + physical); }

static void fail(const char *what)
{
	fprintf(stderr, "boot-stub-driver: %s\n", what);
	exit(1);
}

static u32 hexadecimal(const char *text, u8 *bytes)
{
	u32 count = 0;

	if (!strcmp(text, "-"))
		return 0;
	for (; sscanf(text, "%2hhx", &bytes[count]) == 1; text += 2)
		count++;
	return count;
}

static void show(const u8 *bytes, u32 count)
{
	for (u32 i = 0; i < count; i++)
		printf("%02x", bytes[i]);
	printf("\n");
}

static const char *option(char **options, const char *name, const char *otherwise)
{
	for (; *options; options++)
		if (!strncmp(*options, name, strlen(name)) && (*options)[strlen(name)] == '=')
			return *options + strlen(name) + 1;
	return otherwise;
}

static u64 number(char **options, const char *name, u64 otherwise)
{
	const char *text = option(options, name, 0);

	return text ? strtoull(text, 0, 0) : otherwise;
}

/* A page's contents: its number and something that depends on the place in it. */
static u64 stamp(u64 page, u64 word) { return page << 32 | word * 0x9e3779b1 % 0xffffffff; }

/* Where a walk of the page tables leads; `unknown` are bits of an entry that are not the address's. */
static u64 walk(struct machine *m, u64 address, u64 unknown)
{
	u64 table = m->cr3;

	for (int shift = m->cr4 & 1 << 12 ? 48 : 39;; shift -= 9) {
		u64 entry = words(table)[address >> shift & 511];

		if (!(entry & 1))
			fail("an address of the image is not mapped");
		if (shift == 21 && entry & 0x80)
			return (entry & ADDRESS & ~unknown) + address % LARGE;
		if (shift == 12)
			return (entry & ADDRESS) + address % PAGE;
		table = entry & ADDRESS;
	}
}

/* What is done by this driver reads its page tables anew each time. */
void flush(void)
{
}

static int boot(const char *area_path, const char *table_path, char **options)
{
	struct machine m = { 0 };
	u64 physical = number(options, "physical", 0x4000000);
	u64 unknown = number(options, "unknown", 0);
	FILE *file = fopen(area_path, "rb");

	if (mmap((void *)MEMORY, MEMORY_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != (void *)MEMORY)
		fail("no memory");
	m.area = (struct area *)words(AREA);
	if (!file || !fread(m.area, 1, physical - AREA, file))
		fail("cannot read the area");
	fclose(file);
	m.physical = physical;
	m.area_physical = AREA;
	m.direct = MEMORY;
	m.text = MEMORY + physical;
	m.stack = number(options, "stack", 0) ? m.text + PAGE * number(options, "stack", 0) : (u64)&m;
	m.cr3 = number(options, "levels", 4) == 5 ? LEVEL5 : LEVEL4;
	m.cr4 = number(options, "cr4", 0xa0) | (m.cr3 == LEVEL5 ? 1 << 12 : 0);
	m.efer = number(options, "efer", 0xd01);

	u32 pages = m.area->pages;
	u64 first = m.text / LARGE * LARGE;

	words(LEVEL5)[m.text >> 48 & 511] = LEVEL4 | 0x63;
	words(LEVEL4)[m.text >> 39 & 511] = LEVEL3 | 0x63;
	words(LEVEL3)[m.text >> 30 & 511] = LEVEL2 | 0x63;
	for (u64 at = first; at < m.text + pages * PAGE; at += LARGE)
		words(LEVEL2)[at >> 21 & 511] = (at - MEMORY) | 0x1e3 | unknown;
	for (u64 page = 0; page < pages; page++)
		for (u64 i = 0; i < 512; i++)
			words(physical + page * PAGE)[i] = stamp(page, i);

	m.area->level2_kernel_pgt = LEVEL2 - physical;
	m.area->boot_params = BOOT_PARAMS - physical;
	m.area->boot_command_line = COMMAND_LINE - physical;
	m.area->command_line_bytes = 2048;
	strcpy((char *)words(COMMAND_LINE), option(options, "cmdline", ""));
	if (option(options, "level2-page", 0)) {
		u64 page = number(options, "level2-page", 0);

		memcpy(words(physical + page * PAGE), words(LEVEL2), PAGE);
		m.area->level2_kernel_pgt = page * PAGE;
		words(LEVEL3)[m.text >> 30 & 511] = (physical + page * PAGE) | 0x63;
	}
	if (option(options, "setup-data", 0)) {
		/* one node of another kind, then the seed, then, for bad measure, the first one again */
		u32 *node = (u32 *)words(SETUP_DATA);

		words(BOOT_PARAMS)[0x250 / 8] = SETUP_DATA;
		words(SETUP_DATA)[0] = SETUP_DATA + 0x100;
		node[2] = 1;
		node += 0x100 / 4;
		words(SETUP_DATA + 0x100)[0] = SETUP_DATA;
		node[2] = 9;
		node[3] = hexadecimal(option(options, "setup-data", 0), (u8 *)&node[4]);
	}
	if (option(options, "efi", 0)) {
		u32 *info = (u32 *)words(BOOT_PARAMS + 0x1c0);
		static const u8 guid[16] = { 0xbc, 0xe5, 0xe1, 0x1c, 0xeb, 0x7c, 0xf2, 0x42,
					     0x81, 0xe5, 0x8a, 0xad, 0xf1, 0x80, 0xf5, 0x7b };

		memcpy(info, "EL64", 4);
		info[1] = EFI_SYSTEM;
		memcpy(words(EFI_SYSTEM), "IBI SYST", 8);
		words(EFI_SYSTEM)[0x68 / 8] = 3;
		words(EFI_SYSTEM)[0x70 / 8] = EFI_TABLES;
		memcpy(words(EFI_TABLES + 48), guid, 16);
		words(EFI_TABLES + 48)[2] = EFI_SEED;
		*(u32 *)words(EFI_SEED) = hexadecimal(option(options, "efi", 0), (u8 *)words(EFI_SEED) + 4);
	}

	u32 state = permute(&m);
	u32 work = m.area->work, work_bytes = m.area->work_bytes;
	u64 left = 0;

	printf("state %u %u\nmoved %u\nsources %u\nwait %u\n", state, m.area->state, m.area->moved, m.area->sources,
	       m.options.wait);
	printf("line [");
	for (const char *c = (const char *)words(COMMAND_LINE); *c; c++)
		putchar(*c < ' ' ? ' ' : *c);
	printf("]\n");
	if (m.status) {
		if (m.status->size != strlen(m.status->text) || m.status->pointer)
			fail("the status blob is not well-formed");
		printf("status %s", m.status->text);
	}
	for (u32 i = 0; m.work && i < work_bytes; i++)
		left |= *((u8 *)m.area + work + i);
	for (u32 i = 0; i < sizeof(m.area->seed); i++)
		left |= m.area->seed[i];
	printf("secrets %s\nframes", left ? "left" : "wiped");
	for (u64 page = 0; page < pages; page++) {
		u64 place = walk(&m, m.text + page * PAGE, unknown);
		int is_level2 = (u64)words(place) == m.text + m.area->level2_kernel_pgt;

		for (u64 i = 0; i < 512; i++) {
			u64 asked = page * 512 + i - m.area->lookup / 8;

			if (!is_level2 && (state != PERMUTED || !m.area->lookup || asked >= pages) &&
			    words(place)[i] != stamp(page, i))
				fail("a page shows the contents of another");
		}
		printf(" %llu", (place - physical) / PAGE);
	}
	/* beside the image, where a table of 4 KB entries shows more than it, the mapping stays */
	for (u64 at = first; at >> 21 <= (m.text + pages * PAGE - 1) >> 21; at += PAGE)
		if ((at < m.text || at >= m.text + pages * PAGE) && walk(&m, at, unknown) != at - MEMORY)
			fail("memory beside the image has moved");
	printf("\n");
	if (m.area->lookup && state == PERMUTED) {
		printf("lookup");
		for (u64 page = 0; page < pages; page++) {
			u64 place = walk(&m, m.text + m.area->lookup + 8 * page, unknown);

			printf(" %lld", (s64)page + *(s64 *)(MEMORY + place) / (s64)PAGE);
		}
		printf("\n");
	}

	file = fopen(table_path, "wb");
	if (!file || (m.table && !fwrite(m.table, 40 + 8 * (u64)pages, 1, file)) || fclose(file))
		fail("cannot write the table");
	return 0;
}

/*
 * Calls `target` with all registers set from `before` and stores them in `after`: rax, rcx, rdx, rbx, rbp, rsi, rdi,
 * r8 ... r15, flags.
 */
u64 before[16], after[16], target;
void call_with_registers(void);
void pretended_start_kernel(void);
asm("call_with_registers:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	lea before(%rip), %rax\n"
    "	mov 8(%rax), %rcx; mov 16(%rax), %rdx; mov 24(%rax), %rbx; mov 32(%rax), %rbp; mov 40(%rax), %rsi\n"
    "	mov 48(%rax), %rdi; mov 56(%rax), %r8; mov 64(%rax), %r9; mov 72(%rax), %r10; mov 80(%rax), %r11\n"
    "	mov 88(%rax), %r12; mov 96(%rax), %r13; mov 104(%rax), %r14; mov 112(%rax), %r15\n"
    "	push 120(%rax); popfq; mov (%rax), %rax\n"
    "	call *target(%rip)\n"
    "	mov %rax, after(%rip); pushfq; pop after+120(%rip); cld; lea after(%rip), %rax\n"
    "	mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rbx, 24(%rax); mov %rbp, 32(%rax); mov %rsi, 40(%rax)\n"
    "	mov %rdi, 48(%rax); mov %r8, 56(%rax); mov %r9, 64(%rax); mov %r10, 72(%rax); mov %r11, 80(%rax)\n"
    "	mov %r12, 88(%rax); mov %r13, 96(%rax); mov %r14, 104(%rax); mov %r15, 112(%rax)\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n"
    "pretended_start_kernel:\n"
    "	pushfq; incl starts(%rip); popfq\n"
    "	ret\n");

int starts;
static struct area *whole;
static u64 pretended_physical;

static void clobber(void)
{
	asm volatile("mov $-1, %%eax; mov %%rax, %%rcx; mov %%rax, %%rdx; mov %%rax, %%rsi; mov %%rax, %%rdi;"
		     "mov %%rax, %%r8; mov %%rax, %%r9; mov %%rax, %%r10; mov %%rax, %%r11"
		     : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
}

static int pretended_reserve(u64 base, u64 size)
{
	u64 frame = (u64)__builtin_frame_address(0);

	printf("reserve %s%s\n", base == pretended_physical && size == whole->size ? "area" : "something else",
	       frame % 16 ? ", stack not aligned" : "");
	clobber();
	return 0;
}

static int pretended_printk(const char *format, ...)
{
	__builtin_va_list words;

	__builtin_va_start(words, format);
	printf("printk %d %c ", format[0], format[1]);
	vprintf(format + 2, words);
	__builtin_va_end(words);
	clobber();
	return 0;
}

static void *pretended_blob(const char *name, u16 mode, void *parent, struct status *status)
{
	printf("blob %s %o %s %s\n", name, mode, parent ? "below something" : "at the top",
	       status->pointer == (u64)status->text ? "whole" : "with a wrong pointer");
	clobber();
	return 0;
}

static int pretended_initcall(void)
{
	return 42;
}

static int trampoline(const char *path, u64 run, u64 announce, const char *spoilt, const char *line)
{
	int memory = memfd_create("area", 0);
	int protection = PROT_READ | PROT_WRITE | PROT_EXEC;
	u64 *code = mmap((void *)MEMORY, PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	u64 linked = MEMORY + 0x123f000, text = MEMORY + 0x5000;
	static u64 level2[512];
	static u64 phys_base = 0x12345000, page_offset_base;
	static char command_line[2048];
	/* mov %rsi, 0x20(%rdi) (the text, as state and go); mov %rdi, 0x50(%rdi); ret */
	static const u8 entry[] = { 0x48, 0x89, 0x77, 0x20, 0x48, 0x89, 0x7f, 0x50, 0xc3 };
	FILE *file = fopen(path, "rb");

	setvbuf(stdout, 0, _IONBF, 0);
	/* once in the kernel's mapping, though for the trampoline that comes late, and once in the direct map */
	if (ftruncate(memory, AREA_PAGES * PAGE) || mmap((void *)linked, AREA_PAGES * PAGE, protection,
							 MAP_SHARED | MAP_FIXED_NOREPLACE, memory, 0) != (void *)linked)
		fail("no memory");
	whole = mmap(0, AREA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (!file || !fread(code, 1, PAGE, file))
		fail("cannot read the trampoline");
	pretended_physical = linked - START_KERNEL_MAP + phys_base;
	page_offset_base = (u64)whole - pretended_physical;
	strcpy(command_line, line);
	u64 parameters[] = {
		linked, (u64)pretended_reserve, (u64)pretended_start_kernel, (u64)pretended_printk,
		(u64)pretended_initcall, (u64)pretended_blob, (u64)&page_offset_base, (u64)&phys_base,
		text, (u64)command_line,
	};
	for (u32 i = 0; i < 10; i++)
		code[i] = parameters[i] - (u64)code;

	memcpy(whole, "KPERMBT1", 8);
	whole->version = 1;
	whole->provided = 0x300;
	whole->size = AREA_PAGES * PAGE;
	whole->level2_kernel_pgt = (u64)level2 - text;
	whole->status = 0x800;
	whole->entry = 0x280;
	memcpy((u8 *)whole + whole->entry, entry, sizeof(entry));
	for (u32 i = 0x100; i < whole->provided; i += 8)
		whole->checksum += *(u64 *)((u8 *)whole + i);
	struct status *status = (struct status *)((u8 *)whole + whole->status);

	strcpy(status->text, "pretended status\n");
	if (!strcmp(spoilt, "magic"))
		whole->magic ^= 1ull << 60;
	else if (!strcmp(spoilt, "version"))
		whole->version = 2;
	else if (!strcmp(spoilt, "size"))
		whole->size = 1ull << 40;
	else if (!strcmp(spoilt, "provided"))
		whole->provided = 0xfffffff8;
	else if (!strcmp(spoilt, "checksum"))
		whole->pages++;
	/* the image's last entry is there and serves the area's beginning */
	u64 first = linked >> 21 & 511, base = pretended_physical / LARGE * LARGE;

	level2[text >> 21 & 511] = base - (linked / LARGE - text / LARGE) * LARGE + 0x1e3;
	level2[first] = base | 0x1e3;
	if (!strcmp(spoilt, "level2"))
		level2[text >> 21 & 511] &= ~0x80ull;

	for (u32 i = 0; i < 16; i++)
		before[i] = after[i] = 0x0101010101010101 * (i + 1);
	before[15] = 0x247; /* carry, parity, zero, interrupts */
	target = (u64)code + run;
	call_with_registers();
	printf("start_kernel %d, registers %s\n", starts, memcmp(before, after, sizeof(before)) ? "changed" : "kept");
	printf("entry %s\n", *(u64 *)&whole->state != text ? "not called" :
	       *(u64 *)whole->spare == linked ? "called" : "called with something else");
	int shown = level2[first] == (base | 0x1e3) && !level2[first - 1] && !level2[first + 3];

	for (u64 i = 1; i < 3; i++)
		shown = shown && level2[first + i] == ((base + i * LARGE) | 0xe3);
	printf("area %s\n", shown ? "mapped" : "not mapped");
	/* the direct map moves in between, and the other mapping is dropped */
	struct area *moved = mmap(0, AREA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);

	page_offset_base = (u64)moved - pretended_physical;
	munmap(whole, AREA_PAGES * PAGE);
	munmap((void *)linked, AREA_PAGES * PAGE);
	printf("initcall %d\n", ((int (*)(void))((u64)code + announce))());
	return 0;
}

static int orders(u32 pages, u32 count, const char *seed)
{
	static const char domain[] = "kperm/1/all";
	struct { struct area area; struct class_record class; struct range range; char domain[16]; } *all;
	struct machine m = { .forward = calloc(pages, 4), .inverse = calloc(pages, 4), .marks = calloc(pages, 1) };

	all = calloc(1, sizeof(*all));
	m.area = &all->area;
	m.work = calloc(1, sizeof(*m.work) + 4 * pages);
	if (!all || !m.forward || !m.inverse || !m.marks || !m.work)
		fail("no memory");
	all->area.pages = pages;
	all->area.granule = 1;
	all->area.classes = 1;
	all->area.records = (u32)((char *)&all->class - (char *)all);
	all->class.domain = (u32)(all->domain - (char *)all);
	all->class.domain_bytes = sizeof(domain) - 1;
	all->class.ranges = (u32)((char *)&all->range - (char *)all);
	all->class.range_count = 1;
	all->range.count = pages;
	memcpy(all->domain, domain, sizeof(domain));
	for (u32 number = 0; number < count; number++) {
		u8 *bytes = m.work->secrets.seed;

		if (hexadecimal(seed, bytes) != 32)
			fail("a seed has 32 bytes");
		for (u32 i = 0; i < 4; i++)
			bytes[i] ^= (u8)(number >> 8 * i);
		if (draw(&m) || fwrite(m.forward, 4, pages, stdout) != pages)
			fail("no order");
	}
	return 0;
}

int main(int count, char **words)
{
	u8 key[64], message[4096], digest[32];
	struct secrets secrets;

	if (count == 4 && !strcmp(words[1], "blake2b")) {
		blake2b_start(&secrets.hash, key, hexadecimal(words[2], key));
		blake2b_add(&secrets.hash, message, hexadecimal(words[3], message));
		blake2b_finish(&secrets.hash, digest);
		show(digest, 32);
	} else if (count == 4 && !strcmp(words[1], "chacha20")) {
		hexadecimal(words[2], key);
		stream_start(&secrets, 0, 0);
		memcpy(&secrets.stream.input[4], key, 32);
		/* counter and nonce as 16 bytes */
		hexadecimal(words[3], (u8 *)&secrets.stream.input[12]);
		chacha20_block(&secrets.stream);
		show((u8 *)secrets.stream.words, 64);
	} else if (count >= 4 && !strcmp(words[1], "boot")) {
		return boot(words[2], words[3], words + 4);
	} else if (count == 5 && !strcmp(words[1], "orders")) {
		return orders(strtoul(words[2], 0, 0), strtoul(words[3], 0, 0), words[4]);
	} else if (count >= 6 && !strcmp(words[1], "trampoline")) {
		return trampoline(words[2], strtoull(words[3], 0, 0), strtoull(words[4], 0, 0), words[5],
				  count > 6 ? words[6] : "");
	} else {
		fail("see the comment in its source");
	}
	return 0;
}
