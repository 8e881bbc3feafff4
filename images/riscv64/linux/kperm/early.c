// SPDX-License-Identifier: GPL-2.0-only

/*
 * Called by setup_vm() with the MMU off, so an address here is a physical one, of
 * a page that stays. When this is done the tables say where each page lies, and
 * setup_vm() maps the image accordingly.
 */

#include "boot.h"

extern u8 _start[];

static struct area area;
static struct work work;
static u8 marks[CONFIG_KPERM_PAGES];
static u8 bounce[PAGE] __aligned(4096);

#define EARLY_TABLES (CONFIG_KPERM_PAGES / 512 + 1)
static u8 tables[EARLY_TABLES][PAGE] __aligned(4096);
static u32 tables_used;

/* Page tables for the early mapping: the address of a page. The link makes sure that there are enough. */
unsigned long kperm_early_pte(void)
{
	return (unsigned long)tables[tables_used++];
}

static void copy_page(void *to, const void *from)
{
	u64 *target = to;
	const u64 *source = from, *end = source + PAGE / 8;

	for (; source < end; source += 8, target += 8) {
		u64 a = source[0], b = source[1], c = source[2], d = source[3];
		u64 e = source[4], f = source[5], g = source[6], h = source[7];

		target[0] = a;
		target[1] = b;
		target[2] = c;
		target[3] = d;
		target[4] = e;
		target[5] = f;
		target[6] = g;
		target[7] = h;
	}
}

/* Moves each page from its own place to its frame, along the cycles. */
static void move_pages(const struct machine *m)
{
	u32 pages = m->area->pages;

	for (u32 i = 0; i < pages; i++)
		m->marks[i] = 0;
	for (u32 i = 0; i < pages; i++) {
		u32 frame = i;

		if (m->marks[i] || m->forward[i] == i)
			continue;
		copy_page(bounce, _start + i * PAGE);
		for (; m->inverse[frame] != i; frame = m->inverse[frame]) {
			copy_page(_start + frame * PAGE, _start + m->inverse[frame] * PAGE);
			m->marks[frame] = 1;
		}
		copy_page(_start + frame * PAGE, bounce);
		m->marks[frame] = 1;
	}
	asm volatile("fence rw, rw\n\tfence.i" : : : "memory");
}

/* Between numbers of frames and pages, as they are drawn, and the differences that the kernel looks up. */
static void numbers_to_differences(u32 *table, u32 pages)
{
	for (u32 i = 0; i < pages; i++)
		table[i] = (table[i] - i) * PAGE;
}

static void differences_to_numbers(u32 *table, u32 pages)
{
	for (u32 i = 0; i < pages; i++)
		table[i] = i + (s32)table[i] / (s32)PAGE;
}

/* Lists the classes as early-draw.c takes them; all pages are of one if they may trade places across classes. */
static void list_classes(const struct descriptor *d)
{
	const struct class_range *ranges = (void *)(_start + d->classes);
	u32 across = d->flags & CROSS_CLASS;

	area.granule = 1;
	area.pages = (d->image + PAGE - 1) / PAGE;
	area.records = (u8 *)area.record - (u8 *)&area;
	area.classes = across ? 1 : d->class_count;
	for (u32 i = 0; i < d->class_count; i++) {
		struct class_record *record = &area.record[across ? 0 : i];
		const char *name = across ? "all" : ranges[i].name;
		const char *begin = "kperm/1/";
		u32 length = 0;

		area.range[i].first = (ranges[i].start + PAGE - 1) / PAGE;
		area.range[i].count = (ranges[i].end + PAGE - 1) / PAGE - area.range[i].first;
		record->range_count++;
		if (across && i)
			continue;
		while (*begin)
			area.domain[i][length++] = *begin++;
		while (*name)
			area.domain[i][length++] = *name++;
		record->domain = (u8 *)area.domain[i] - (u8 *)&area;
		record->domain_bytes = length;
		record->ranges = (u8 *)&area.range[i] - (u8 *)&area;
	}
}

static u64 ticks(void)
{
	u64 time;

	asm volatile("csrr %0, time" : "=r"(time));
	return time;
}

/* Whoever used a seed before has overwritten it with zeros. */
static int is_seed(const struct property *seed, u32 least)
{
	u8 any = 0;

	for (u32 i = 0; i < seed->bytes; i++)
		any |= seed->data[i];
	return seed->bytes >= least && any;
}

/* Gives the seed, and what it comes from. The kernel takes rng-seed out of the tree, not kaslr-seed. */
static u32 gather_seed(const struct chosen *chosen)
{
	struct blake2b *hash = &work.secrets.hash;
	u32 sources = FROM_TIME;
	u64 time = ticks();

	blake2b_start(hash, 0, 0);
	blake2b_add(hash, "kperm/1/seed", 12);
	blake2b_add(hash, &time, sizeof(time));
	blake2b_add(hash, chosen->rng_seed.data, chosen->rng_seed.bytes);
	blake2b_add(hash, chosen->kaslr_seed.data, chosen->kaslr_seed.bytes);
	blake2b_finish(hash, work.secrets.seed);
	if (is_seed(&chosen->rng_seed, 16))
		sources |= FROM_RNG_SEED;
	if (is_seed(&chosen->kaslr_seed, 8))
		sources |= FROM_KASLR_SEED;
	wipe(chosen->kaslr_seed.data, chosen->kaslr_seed.bytes);
	return sources;
}

static const u8 *device_tree;

void kperm_device_tree(unsigned long dtb);
void kperm_device_tree(unsigned long dtb)
{
	device_tree = (const u8 *)dtb;
}

static int has_word(const struct property *line, const char *word)
{
	for (u32 start = 0, i = 0; i < line->bytes; i++) {
		u32 j = 0;

		if (line->data[i] > ' ' && i + 1 < line->bytes)
			continue;
		while (start + j < i && word[j] && line->data[start + j] == (u8)word[j])
			j++;
		if (start + j == i && !word[j])
			return 1;
		start = i + 1;
	}
	return 0;
}

/* Whether the command line asks for fewer levels of page tables than a mode has. */
bool kperm_mode_refused(unsigned long satp_mode);
bool kperm_mode_refused(unsigned long satp_mode)
{
	struct chosen chosen;

	find_chosen(device_tree, &chosen);
	return has_word(&chosen.bootargs, "no4lvl") || (satp_mode >> 60 == 10 && has_word(&chosen.bootargs, "no5lvl"));
}

static void put_back(struct descriptor *d, struct machine *m)
{
	differences_to_numbers(kperm_forward, area.pages);
	differences_to_numbers(kperm_inverse, area.pages);
	m->forward = kperm_inverse;
	m->inverse = kperm_forward;
	move_pages(m);
	wipe(kperm_forward, sizeof(kperm_forward));
	wipe(kperm_inverse, sizeof(kperm_inverse));
	d->moved = 0;
}

/* Draws and moves; gives the reason if it cannot, and then all pages are where they were. */
static const char *permute(struct descriptor *d, struct machine *m, const struct chosen *chosen,
			   const struct options *options)
{
	u64 started = ticks(), drawn;
	const char *reason = options->malformed;

	if (reason)
		return reason;
	d->sources = options->seed ? FROM_COMMAND_LINE : gather_seed(chosen);
	reason = draw(m);
	if (reason) {
		wipe(kperm_forward, sizeof(kperm_forward));
		wipe(kperm_inverse, sizeof(kperm_inverse));
		return reason;
	}
	drawn = ticks();
	move_pages(m);
	numbers_to_differences(kperm_forward, area.pages);
	numbers_to_differences(kperm_inverse, area.pages);
	d->moved = area.moved;
	d->draw_ticks = drawn - started;
	d->move_ticks = ticks() - drawn;
	return 0;
}

void kperm_early(unsigned long dtb);
void kperm_early(unsigned long dtb)
{
	struct descriptor *d = &kperm_descriptor;
	const char *reason = "this Image was not made to be: kperm permute makes one that is";
	struct options options;
	struct chosen chosen;
	struct machine m;

	/* one by one: an initializer may become a constant, with addresses that only hold with the MMU on */
	m.area = &area;
	m.work = &work;
	m.forward = kperm_forward;
	m.inverse = kperm_inverse;
	m.marks = marks;
	d->physical = (u64)_start;
	find_chosen((const u8 *)dtb, &chosen);
	parse_options((char *)chosen.bootargs.data, chosen.bootargs.bytes, &options);
	if (d->mode == LINEAR) {
		if (options.require)
			stop(reason);
		return;
	}
	list_classes(d);
	if (options.seed && !options.malformed) {
		decode_seed(options.seed, work.secrets.seed);
		hide_seeds((char *)chosen.bootargs.data, chosen.bootargs.bytes);
	}
	if (options.off) {
		d->state = SWITCHED_OFF;
		if (d->mode == BAKED)
			put_back(d, &m);
	} else if (d->mode == BAKED) {
		d->sources = FROM_TOOL;
		d->state = PERMUTED;
	} else {
		reason = permute(d, &m, &chosen, &options);
		if (reason && options.require)
			stop(reason);
		d->state = reason ? REFUSED : PERMUTED;
	}
	wipe(&work, sizeof(work));
	wipe(bounce, sizeof(bounce));
}
