/* SPDX-License-Identifier: GPL-2.0-only */

/* What the parts that run with the MMU off share; descriptor.h says what all of this is. */

#ifndef KPERM_BOOT_H
#define KPERM_BOOT_H

#include <linux/types.h>
#include "descriptor.h"

/* The names are ours alone, among all of the kernel's. */
#define blake2b_start kperm_blake2b_start
#define blake2b_add kperm_blake2b_add
#define blake2b_finish kperm_blake2b_finish
#define stream_start kperm_stream_start
#define chacha20_block kperm_chacha20_block
#define stream_uniform kperm_stream_uniform
#define draw kperm_draw
#define parse_options kperm_parse_options
#define hide_seeds kperm_hide_seeds
#define decode_seed kperm_decode_seed
#define stop kperm_stop

extern u32 kperm_forward[CONFIG_KPERM_PAGES], kperm_inverse[CONFIG_KPERM_PAGES];

/* What early-draw.c draws from: offsets count from the area's start. */
#define MOST_CLASSES 8

struct class_record {
	u32 domain, domain_bytes;
	u32 ranges, range_count;
	u32 runs, run_count;
};

struct range {
	u32 first;
	u32 count;
};

#define PAGE 4096ul

struct area {
	u32 granule;
	u32 pages;
	u32 classes;
	u32 records;
	u32 moved;
	struct class_record record[MOST_CLASSES];
	struct range range[MOST_CLASSES];
	char domain[MOST_CLASSES][32];
};

struct blake2b {
	u64 state[8];
	u64 total;
	u64 mixed[16];
	union {
		u64 words[16];
		u8 bytes[128];
	} block;
	u32 filled;
};

struct stream {
	u32 input[16];
	u32 words[16];
	u32 used;
};

struct secrets {
	u8 seed[32];
	struct blake2b hash;
	struct stream stream;
};

struct work {
	struct secrets secrets;
	u32 slots[CONFIG_KPERM_PAGES];
};

struct machine {
	struct area *area;
	struct work *work;
	u32 *forward, *inverse;
	u8 *marks;
};

struct options {
	u8 off, require, wait;
	const char *seed;
	const char *malformed;
};

/* A property of the device tree's /chosen. */
struct property {
	u8 *data;
	u32 bytes;
};

struct chosen {
	struct property bootargs, rng_seed, kaslr_seed;
};

void __noreturn stop(const char *reason);
void find_chosen(const u8 *tree, struct chosen *chosen);

void blake2b_start(struct blake2b *hash, const u8 *key, u32 key_bytes);
void blake2b_add(struct blake2b *hash, const void *data, u64 bytes);
void blake2b_finish(struct blake2b *hash, u8 digest[32]);
void stream_start(struct secrets *secrets, const void *domain, u32 domain_bytes);
void chacha20_block(struct stream *stream);
u32 stream_uniform(struct stream *stream, u32 below);
const char *draw(struct machine *m);
void parse_options(char *line, u32 bytes, struct options *options);
void hide_seeds(char *line, u32 bytes);
void decode_seed(const char *digits, u8 seed[32]);

static inline void *at(const struct area *area, u32 offset)
{
	return (u8 *)area + offset;
}

/* May not be left out by the compiler, whatever it thinks of the memory's future. */
static inline void wipe(void *memory, u64 bytes)
{
	volatile u8 *next = memory;

	while (bytes--)
		*next++ = 0;
}

#endif
