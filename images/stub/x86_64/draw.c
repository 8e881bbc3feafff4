// SPDX-License-Identifier: GPL-2.0-only

/*
 * Drawing algorithm 1, as kperm's Permutation.swift states it: for each class,
 * glued runs go to places chosen uniformly among those where they fit, up to 64
 * beginnings; the remaining granules take the remaining slots in the order of a
 * Fisher-Yates shuffle. The same seed gives the same permutation there and here.
 */

#include "boot.h"

#define BEGINNINGS 64

/* Sends a granule's pages to a slot's frames. */
static void place(struct machine *m, u32 granule, u32 slot)
{
	u32 size = m->area->granule;

	for (u32 i = 0; i < size; i++)
		m->forward[granule * size + i] = slot * size + i;
}

/* Lists what moves in a class, ascending, leaving out what is marked; gives its number. */
static u32 list(struct machine *m, const struct class_record *class)
{
	const struct range *ranges = at(m->area, class->ranges);
	u32 count = 0;

	for (u32 i = 0; i < class->range_count; i++)
		for (u32 granule = ranges[i].first; granule < ranges[i].first + ranges[i].count; granule++)
			if (!m->marks[granule])
				m->work->slots[count++] = granule;
	return count;
}

static void mark_runs(struct machine *m, const struct class_record *class, u8 mark)
{
	const struct range *runs = at(m->area, class->runs);

	for (u32 i = 0; i < class->run_count; i++)
		for (u32 j = 0; j < runs[i].count; j++)
			m->marks[runs[i].first + j] = mark;
}

/* Places one run into slots that lie together; takes them off the list. */
static int place_run(struct machine *m, const struct range *run, u32 *count)
{
	u32 *slots = m->work->slots;
	u32 places = 0, chosen = 0, start = 0;

	/* The first pass counts the places, the second goes to the one drawn. */
	for (u32 pass = 0; pass < 2; pass++) {
		for (start = 0; start + run->count <= *count; start++) {
			if (slots[start + run->count - 1] != slots[start] + run->count - 1)
				continue;
			if (!pass)
				places++;
			else if (!chosen--)
				break;
		}
		if (!places)
			return 0;
		if (!pass)
			chosen = stream_uniform(&m->work->secrets.stream, places);
	}
	for (u32 i = 0; i < run->count; i++)
		place(m, run->first + i, slots[start + i]);
	*count -= run->count;
	for (u32 i = start; i < *count; i++)
		slots[i] = slots[i + run->count];
	return 1;
}

/* Places the runs of a class and leaves the free slots on the list; gives their number. */
static u32 place_runs(struct machine *m, const struct class_record *class)
{
	const struct range *runs = at(m->area, class->runs);

	for (u32 beginning = 0; beginning < BEGINNINGS; beginning++) {
		u32 count = list(m, class), i = 0;

		while (i < class->run_count && place_run(m, &runs[i], &count))
			i++;
		if (i == class->run_count)
			return count;
	}
	mark_runs(m, class, 1);
	for (u32 i = 0; i < class->run_count; i++)
		for (u32 j = 0; j < runs[i].count; j++)
			place(m, runs[i].first + j, runs[i].first + j);
	return list(m, class);
}

static void draw_class(struct machine *m, const struct class_record *class)
{
	const struct range *ranges = at(m->area, class->ranges);
	struct secrets *secrets = &m->work->secrets;
	u32 *slots = m->work->slots;

	if (list(m, class) < 2)
		return;
	stream_start(secrets, at(m->area, class->domain), class->domain_bytes);
	u32 count = place_runs(m, class);

	for (u32 i = count; i > 1; i--) {
		u32 other = stream_uniform(&secrets->stream, i);
		u32 slot = slots[i - 1];

		slots[i - 1] = slots[other];
		slots[other] = slot;
	}
	mark_runs(m, class, 1);
	for (u32 i = 0; i < class->range_count; i++)
		for (u32 granule = ranges[i].first; granule < ranges[i].first + ranges[i].count; granule++)
			if (!m->marks[granule])
				place(m, granule, *slots++);
	mark_runs(m, class, 0);
}

/* Fills in the frame of each page and the page in each frame, and the number of pages that move. */
const char *draw(struct machine *m)
{
	const struct class_record *records = at(m->area, m->area->records);
	u32 pages = m->area->pages, moved = 0;

	for (u32 i = 0; i < pages; i++) {
		m->forward[i] = i;
		m->inverse[i] = ~0u;
		m->marks[i] = 0;
	}
	for (u32 i = 0; i < m->area->classes; i++)
		draw_class(m, &records[i]);
	for (u32 i = 0; i < pages; i++) {
		if (m->inverse[m->forward[i]] != ~0u)
			return "the page classes overlap";
		m->inverse[m->forward[i]] = i;
		moved += m->forward[i] != i;
	}
	m->area->moved = moved;
	return 0;
}
