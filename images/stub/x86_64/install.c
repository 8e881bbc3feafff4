// SPDX-License-Identifier: GPL-2.0-only

/*
 * Putting a drawn order into effect. Linux shows its image by 2 MB entries of
 * level2_kernel_pgt; each becomes a pointer to a table of 4 KB entries in the
 * boot area, with the flags that the large one had. The pages move while the
 * old mapping is in use, so that page and frame number are still the same; from
 * the first moved page to the flush of the TLB nothing of the kernel may run.
 */

#include "boot.h"

#define ADDRESS 0x000ffffffffff000ull
#define PRESENT 1ull
#define WRITABLE 2ull
#define LARGE_PAGE 0x80ull
/* Present, writable, accessed, dirty, large, global: what Linux gives its early mapping. */
#define KNOWN_FLAGS 0x1e3ull
/* Present, writable, accessed, dirty: what Linux gives its own intermediate tables. */
#define TABLE_FLAGS 0x63ull
#define CR4_PAE (1ull << 5)
#define CR4_LA57 (1ull << 12)
#define EFER_LMA (1ull << 10)
#define TABLE_MAGIC 0x4c42544d5245504bull /* "KPERMTBL" */

static volatile u64 *level2(struct machine *m)
{
	return (volatile u64 *)(m->text + m->area->level2_kernel_pgt) + m->level2;
}

static u64 *page_table(struct machine *m, u32 number)
{
	return (u64 *)at(m->area, m->area->tables) + 512 * number;
}

/* Whether the kernel is mapped in the one way that this file knows. */
const char *check_mapping(struct machine *m)
{
	u64 linear = m->physical - m->text % LARGE;
	u64 table = m->cr3 & ADDRESS;

	if (!(m->cr4 & CR4_PAE) || !(m->efer & EFER_LMA))
		return "the processor is not in long mode";
	if (m->physical % LARGE != m->text % LARGE || m->level2 + m->table_count > 512)
		return "the image lies across the borders of its page tables";
	for (int shift = m->cr4 & CR4_LA57 ? 48 : 39; shift >= 30; shift -= 9) {
		u64 entry = ((const u64 *)(m->direct + table))[m->text >> shift & 511];

		if (!(entry & PRESENT) || entry & LARGE_PAGE)
			return "the page tables in use have an unknown form";
		table = entry & ADDRESS;
	}
	if (table != m->physical + m->area->level2_kernel_pgt)
		return "level2_kernel_pgt is not in use";
	for (u32 i = 0; i < m->table_count; i++, linear += LARGE) {
		u64 entry = level2(m)[i], needed = PRESENT | WRITABLE | LARGE_PAGE;

		if ((entry & ~KNOWN_FLAGS) != linear || (entry & needed) != needed)
			return "level2_kernel_pgt shows the image in an unknown way (encrypted memory?)";
	}
	return 0;
}

void build_tables(struct machine *m)
{
	u64 before = m->text / PAGE % 512;

	for (u32 i = 0; i < m->table_count; i++) {
		u64 entry = level2(m)[i] & ~LARGE_PAGE;
		u64 *table = page_table(m, i);

		for (u32 j = 0; j < 512; j++) {
			u64 page = 512 * i + j - before;

			if (page < m->area->pages)
				table[j] = (entry & ~ADDRESS) | (m->physical + m->forward[page] * PAGE);
			else
				table[j] = entry + j * PAGE;
		}
	}
}

/*
 * What the frame of each page differs from the linear one, where the rewritten translations of the kernel look it
 * up: in text, whose pages move with it. Nothing is told before: zeros.
 */
void write_lookup(struct machine *m)
{
	s64 *differences = (s64 *)(m->text + m->area->lookup);

	for (u32 page = 0; m->area->lookup && page < m->area->pages; page++)
		differences[page] = ((s64)m->forward[page] - page) * (s64)PAGE;
}

/* Along each cycle: the first frame's contents wait aside, every frame takes those of the page that belongs there. */
void move_pages(struct machine *m)
{
	u64 bounce = (u64)m->work->bounce;

	for (u32 first = 0; first < m->area->pages; first++) {
		u32 hole = first, from;

		if (m->marks[first] || m->inverse[first] == first)
			continue;
		copy_page(bounce, m->text + first * PAGE);
		while ((from = m->inverse[hole]) != first) {
			copy_page(m->text + hole * PAGE, m->text + from * PAGE);
			m->marks[from] = 1;
			hole = from;
		}
		copy_page(m->text + hole * PAGE, bounce);
	}
}

void install_tables(struct machine *m)
{
	for (u32 i = 0; i < m->table_count; i++)
		level2(m)[i] = (m->area_physical + m->area->tables + i * PAGE) | TABLE_FLAGS;
}

/* CRC-32C, a byte at a time by a table of all bytes, which goes where the moved pages bounced. */
static u32 checksum(struct machine *m, const u8 *data, u64 bytes)
{
	u32 *remainders = (u32 *)m->work->bounce;
	u32 crc;

	for (u32 byte = 0; byte < 256; byte++) {
		crc = byte;
		for (u32 bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0x82f63b78 & (0 - (crc & 1)));
		remainders[byte] = crc;
	}
	for (crc = ~0u; bytes; bytes--)
		crc = crc >> 8 ^ remainders[(u8)crc ^ *data++];
	return ~crc;
}

void write_table(struct machine *m)
{
	struct table *table = m->table;

	table->magic = TABLE_MAGIC;
	table->version = 1;
	table->flags = 0;
	table->pages = m->area->pages;
	table->virtual_base = m->text;
	table->physical_base = m->physical;
	table->moved = m->area->moved;
	table->checksum = 0;
	table->checksum = checksum(m, (const u8 *)table, sizeof(*table) + 8 * (u64)table->pages);
}
