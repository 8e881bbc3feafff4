// SPDX-License-Identifier: GPL-2.0-only

/*
 * A seed from what can be had before the kernel has started: BLAKE2b of all of
 * it, each input with a tag and its length before it. What is found in memory
 * is only read: the kernel wants it later for its own generator.
 */

#include "boot.h"

/* Physical addresses that every kernel's direct map has room for. */
#define PHYSICAL_LIMIT (1ull << 46)
#define SETUP_DATA_POINTER 0x250 /* in struct boot_params */
#define EFI_INFO 0x1c0
#define SETUP_RNG_SEED 9
#define MOST_NODES 64
#define MOST_EFI_TABLES 256
#define LEAST_SEED_BYTES 16
#define MOST_SEED_BYTES 1024
#define EFI_SYSTEM_TABLE 0x5453595320494249ull /* "IBI SYST" */
#define EFI_LOADER_64 0x34364c45 /* "EL64" */
#define EFI_LOADER_32 0x32334c45 /* "EL32" */
#define WORDS 8

struct setup_data {
	u64 next;
	u32 type;
	u32 bytes;
	u8 data[];
};

struct efi_info {
	u32 loader, system_table, descriptor_bytes, descriptor_version;
	u32 memory_map, memory_map_bytes, system_table_high, memory_map_high;
};

struct efi_table {
	u64 guid[2];
	u64 pointer;
};

struct efi_seed {
	u32 bytes;
	u8 data[];
};

static void add(struct machine *m, u32 tag, const void *data, u32 bytes)
{
	u32 head[2] = { tag, bytes };

	blake2b_add(&m->work->secrets.hash, head, sizeof(head));
	blake2b_add(&m->work->secrets.hash, data, bytes);
}

/* A seed that somebody left in memory; one that was used has been overwritten with zeros. */
static u32 add_found(struct machine *m, u32 tag, const u8 *data, u32 bytes)
{
	u8 any = 0;

	if (bytes < LEAST_SEED_BYTES || bytes > MOST_SEED_BYTES)
		return 0;
	for (u32 i = 0; i < bytes; i++)
		any |= data[i];
	add(m, tag, data, bytes);
	return any ? tag : 0;
}

static const void *physical(struct machine *m, u64 address)
{
	return address && address < PHYSICAL_LIMIT ? (const void *)(m->direct + address) : 0;
}

static u32 add_setup_data(struct machine *m, u64 boot_params)
{
	const struct setup_data *node = physical(m, *(const u64 *)(boot_params + SETUP_DATA_POINTER));
	u32 found = 0;

	for (u32 i = 0; node && i < MOST_NODES; i++, node = physical(m, node->next))
		if (node->type == SETUP_RNG_SEED)
			found |= add_found(m, FROM_SETUP_DATA, node->data, node->bytes);
	return found;
}

/* EFI mixed mode: Linux hands the firmware names in its image by linear addresses, which the move makes wrong. */
int is_32_bit_firmware(struct machine *m)
{
	u64 boot_params = m->text + m->area->boot_params;

	return m->area->boot_params && ((const struct efi_info *)(boot_params + EFI_INFO))->loader == EFI_LOADER_32;
}

static u32 add_efi_seed(struct machine *m, u64 boot_params)
{
	const struct efi_info *info = (const struct efi_info *)(boot_params + EFI_INFO);
	const u64 *system;
	u32 found = 0;

	if (info->loader != EFI_LOADER_64)
		return 0;
	system = physical(m, (u64)info->system_table_high << 32 | info->system_table);
	if (!system || system[0] != EFI_SYSTEM_TABLE || system[0x68 / 8] > MOST_EFI_TABLES)
		return 0;
	const struct efi_table *tables = physical(m, system[0x70 / 8]);

	for (u32 i = 0; tables && i < system[0x68 / 8]; i++) {
		/* 1ce1e5bc-7ceb-42f2-81e5-8aadf180f57b */
		if (tables[i].guid[0] != 0x42f27ceb1ce1e5bcull || tables[i].guid[1] != 0x7bf580f1ad8ae581ull)
			continue;
		const struct efi_seed *seed = physical(m, tables[i].pointer);

		if (seed)
			found |= add_found(m, FROM_EFI, seed->data, seed->bytes);
	}
	return found;
}

static u32 cpuid(u32 leaf, u32 *c)
{
	u32 a = leaf, b;

	*c = 0;
	asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(*c) : : "edx");
	return leaf ? b : a;
}

static u64 timestamp(void)
{
	u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

/* Words of the processor's generator. Broken ones were seen to give the same word again and again. */
static u32 add_processor(struct machine *m, u32 tag)
{
	u64 first = 0, word = 0;
	u32 got = 0, differ = 0;

	for (u32 tries = 0; tries < 200 * WORDS && got < WORDS; tries++) {
		u8 valid;

		if (tag == FROM_RDSEED)
			asm volatile("rdseed %0; setc %1" : "=r"(word), "=qm"(valid) : : "cc");
		else
			asm volatile("rdrand %0; setc %1" : "=r"(word), "=qm"(valid) : : "cc");
		if (!valid) {
			asm volatile("pause");
			continue;
		}
		if (!got)
			first = word;
		differ |= word != first;
		add(m, tag, &word, sizeof(word));
		got++;
	}
	return got >= WORDS / 2 && differ ? tag : 0;
}

static void add_time(struct machine *m)
{
	u64 now = timestamp();

	add(m, FROM_TSC, &now, sizeof(now));
}

/* Makes the seed; gives the sources it came from. */
u32 gather_entropy(struct machine *m)
{
	const struct area *area = m->area;
	u32 found = FROM_TSC, features;
	u64 places[3] = { m->text, m->physical, m->direct };

	blake2b_start(&m->work->secrets.hash, 0, 0);
	add_time(m);
	cpuid(1, &features);
	if (features & 1u << 30)
		found |= add_processor(m, FROM_RDRAND);
	if (cpuid(0, &features) >= 7 && cpuid(7, &features) & 1u << 18)
		found |= add_processor(m, FROM_RDSEED);
	if (area->boot_params) {
		found |= add_setup_data(m, m->text + area->boot_params);
		found |= add_efi_seed(m, m->text + area->boot_params);
	}
	add(m, FROM_KASLR, places, sizeof(places));
	if (m->text != area->text_link || m->physical != area->text_physical)
		found |= FROM_KASLR;
	/* How long memory takes to answer varies a little. */
	for (u64 offset = 0; offset < 16 * PAGE && offset < area->pages * PAGE; offset += PAGE) {
		image_word(m->text, offset);
		add_time(m);
	}
	blake2b_finish(&m->work->secrets.hash, m->work->secrets.seed);
	return found;
}
