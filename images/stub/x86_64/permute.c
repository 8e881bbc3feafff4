// SPDX-License-Identifier: GPL-2.0-only

/*
 * The steps in their order. Whatever can go wrong is found before the first page
 * moves; then nothing calls into the kernel and nothing faults until the new
 * mapping is in use. Every way out leaves a state and a line of text that says
 * what happened, and never what the seed or any page's place is.
 */

#include "boot.h"

#define MOST_PAGES (1u << 18)
#define MOST_GRANULE 512
#define HEADER_BYTES 0x200

_Static_assert(sizeof(struct area) == HEADER_BYTES, "the header");
_Static_assert(__builtin_offsetof(struct area, flags) == 0x100, "where constants begin");
_Static_assert(__builtin_offsetof(struct area, entry) == 0x16c, "where constants end");
_Static_assert(sizeof(struct status) == 512, "the status blob");
_Static_assert(sizeof(struct table) == 40, "the table's header");
_Static_assert(__builtin_offsetof(struct work, slots) == 2 * PAGE, "work memory");

/* Whether bytes at an offset lie in the area, behind the header, as aligned as they have to be. */
static int lies_inside(const struct area *area, u64 offset, u64 bytes, u64 alignment)
{
	return offset >= HEADER_BYTES && offset % alignment == 0 && offset + bytes <= area->size;
}

static int classes_fit(const struct area *area)
{
	const struct class_record *class = at(area, area->records);
	u32 granules = area->pages / area->granule;

	if (area->classes > area->pages || !lies_inside(area, area->records, area->classes * sizeof(*class), 4))
		return 0;
	for (u32 i = 0; i < area->classes; i++, class++) {
		u64 count = 0;

		if (!lies_inside(area, class->domain, class->domain_bytes, 1) ||
		    !lies_inside(area, class->ranges, class->range_count * 8ull, 4) ||
		    !lies_inside(area, class->runs, class->run_count * 8ull, 4))
			return 0;
		for (u32 j = 0; j < class->range_count + class->run_count; j++) {
			u32 is_run = j >= class->range_count;
			const struct range *range = at(area, is_run ? class->runs : class->ranges);

			range += is_run ? j - class->range_count : j;
			if (!range->count || (u64)range->first + range->count > granules)
				return 0;
			count += is_run ? 0 : range->count;
		}
		if (count > granules)
			return 0;
	}
	return 1;
}

/* Checks the area's sizes and finds its parts. */
static const char *find_parts(struct machine *m)
{
	struct area *area = m->area;
	u64 pages = area->pages;

	if (!lies_inside(area, area->status, sizeof(struct status), 8))
		return "the boot area has no room for the status";
	m->status = at(area, area->status);
	if (!pages || pages > MOST_PAGES || !area->granule || area->granule > MOST_GRANULE || m->text % PAGE ||
	    area->size % PAGE)
		return "the boot area's numbers make no sense";
	m->level2 = m->text / LARGE % 512;
	m->table_count = (m->text % LARGE + pages * PAGE + LARGE - 1) / LARGE;
	if (!lies_inside(area, area->table, sizeof(struct table) + 8 * pages, 8) ||
	    !lies_inside(area, area->tables, m->table_count * PAGE, PAGE) ||
	    !lies_inside(area, area->work, area->work_bytes, PAGE) ||
	    area->work_bytes < sizeof(struct work) + WORK_BYTES_PER_PAGE * pages)
		return "the boot area is too small";
	if (area->lookup % 8 || area->lookup > pages * PAGE - 8 * (pages + 2))
		return "the table that translations ask does not fit the image";
	if (!classes_fit(area))
		return "the page classes do not fit the image";
	m->table = at(area, area->table);
	m->forward = m->table->order;
	m->inverse = m->forward + pages;
	m->work = at(area, area->work);
	m->marks = (u8 *)(m->work->slots + pages);
	return 0;
}

/* Whether what is in use during the move stays where it is. */
static int stays(struct machine *m, u64 address)
{
	u64 page = (address - m->text) / PAGE;

	return page >= m->area->pages || m->forward[page] == page;
}

/* The decompressor unpacks the kernel's file into the kernel's place and leaves behind what it copied from there. */
static void wipe_copy(struct machine *m)
{
	struct area *area = m->area;
	u8 *copy = (u8 *)(m->direct + m->area_physical + area->copy) + __builtin_offsetof(struct area, seed);

	if (!area->copy)
		return;
	for (u32 i = 0; i < sizeof(area->seed); i++) {
		if (copy[i] != area->seed[i])
			return;
	}
	wipe(copy, sizeof(area->seed));
}

static void find_seed(struct machine *m)
{
	struct area *area = m->area;
	u8 *seed = m->work->secrets.seed;

	if (area->flags & SEED_GIVEN) {
		for (u32 i = 0; i < sizeof(area->seed); i++)
			seed[i] = area->seed[i];
		wipe_copy(m);
		area->sources = FROM_TOOL;
	} else if (m->options.seed) {
		decode_seed(m->options.seed, seed);
		area->sources = FROM_COMMAND_LINE;
	} else {
		area->sources = gather_entropy(m);
	}
}

static const char *try_to_permute(struct machine *m)
{
	const char *reason = find_parts(m);

	if (reason)
		return reason;
	if (m->options.malformed)
		return m->options.malformed;
	if (is_32_bit_firmware(m))
		return "the EFI firmware is a 32-bit one, to which Linux gives linear addresses of its image";
	reason = check_mapping(m);
	if (reason)
		return reason;
	find_seed(m);
	reason = draw(m);
	if (reason)
		return reason;
	if (!stays(m, m->text + m->area->level2_kernel_pgt) || !stays(m, m->stack))
		return "pages in use would move";
	build_tables(m);
	write_lookup(m);
	move_pages(m);
	install_tables(m);
	flush();
	write_table(m);
	return 0;
}

static void say(struct machine *m, const char *text)
{
	while (*text && m->status->size < STATUS_BYTES)
		m->status->text[m->status->size++] = *text++;
}

static void say_number(struct machine *m, u32 number)
{
	char digits[11];
	char *first = digits + 10;

	*first = 0;
	do
		*--first = '0' + number % 10;
	while (number /= 10);
	say(m, first);
}

static void say_sources(struct machine *m, u32 sources)
{
	/* in the order of their bits */
	const char *name = "RDSEED\0RDRAND\0setup_data\0EFI\0KASLR\0TSC\0";

	if (sources & FROM_TOOL)
		return say(m, "drawn by the tool");
	say(m, "drawn at boot, ");
	if (sources & FROM_COMMAND_LINE)
		return say(m, "seed from the command line");
	say(m, sources & STRONG_SOURCES ? "entropy" : "weak entropy");
	for (; *name; sources >>= 1) {
		if (sources & 1) {
			say(m, " ");
			say(m, name);
		}
		while (*name++)
			;
	}
}

static void report(struct machine *m, const char *reason)
{
	if (!m->status)
		return;
	m->status->size = 0;
	if (reason) {
		say(m, "not permuted: ");
		say(m, reason);
	} else {
		say(m, "permuted: ");
		say_number(m, m->area->moved);
		say(m, " of ");
		say_number(m, m->area->counted);
		say(m, " pages moved, ");
		say_sources(m, m->area->sources);
	}
	say(m, "\n");
	m->status->text[m->status->size] = 0;
}

/* Permutes the kernel or says why not; gives the state. */
u32 permute(struct machine *m)
{
	struct area *area = m->area;
	char *line = (char *)(m->text + area->boot_command_line);
	const char *reason;
	u32 state = PERMUTED;

	parse_options(line, area->command_line_bytes, &m->options);
	m->work = 0;
	m->status = 0;
	if (m->options.off) {
		find_parts(m);
		reason = "switched off on the command line";
		state = SWITCHED_OFF;
	} else {
		reason = try_to_permute(m);
		if (reason)
			state = m->options.require ? HALTED : REFUSED;
	}
	if (reason)
		area->moved = 0;
	report(m, reason);
	if (m->work)
		wipe(m->work, area->work_bytes);
	wipe(area->seed, sizeof(area->seed));
	/* What is malformed is shown to whoever has to mend it, and no order comes of it. */
	if (!m->options.malformed)
		hide_seeds(line, area->command_line_bytes);
	area->state = state;
	return state;
}
