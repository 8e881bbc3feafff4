// SPDX-License-Identifier: GPL-2.0-only

/*
 * What stands under /chosen in the device tree, read where the firmware left it.
 * A tree that is cut off or malformed gives what was found up to there.
 */

#include "boot.h"

enum token { BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, NOTHING = 4 };

static u32 word(const u8 *tree, u32 offset)
{
	return (u32)tree[offset] << 24 | tree[offset + 1] << 16 | tree[offset + 2] << 8 | tree[offset + 3];
}

static int same(const u8 *tree, u32 offset, u32 end, const char *name)
{
	for (; offset < end && tree[offset] == (u8)*name; offset++, name++)
		if (!*name)
			return 1;
	return 0;
}

void find_chosen(const u8 *tree, struct chosen *chosen)
{
	u32 total, next, strings, depth = 0, inside = 0;

	wipe(chosen, sizeof(*chosen));
	if (!tree || word(tree, 0) != 0xd00dfeed)
		return;
	total = word(tree, 4);
	next = word(tree, 8);
	strings = word(tree, 12);
	while (next < total && total - next >= 12) {
		enum token token = word(tree, next);

		next += 4;
		if (token == BEGIN_NODE) {
			if (++depth == 2)
				inside = same(tree, next, total, "chosen");
			while (next < total && tree[next])
				next++;
			next = (next + 4) & ~3u;
		} else if (token == END_NODE) {
			if (!depth || --depth < 2)
				inside = 0;
		} else if (token == PROPERTY) {
			u32 bytes = word(tree, next), name = word(tree, next + 4);

			next += 8;
			if (bytes > total - next || name >= total || strings > total - name)
				return;
			struct property *property = 0;

			if (inside && depth == 2) {
				if (same(tree, strings + name, total, "bootargs"))
					property = &chosen->bootargs;
				else if (same(tree, strings + name, total, "rng-seed"))
					property = &chosen->rng_seed;
				else if (same(tree, strings + name, total, "kaslr-seed"))
					property = &chosen->kaslr_seed;
			}
			if (property) {
				property->data = (u8 *)tree + next;
				property->bytes = bytes;
			}
			next += (bytes + 3) & ~3u;
		} else if (token != NOTHING) {
			return;
		}
	}
}
