/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * A kernel whose image's pages may lie in any order of its own frames: what the
 * tool that permutes an Image and the kernel agree on.
 *
 *     table.S          the descriptor and the tables
 *     early.c          at the start of setup_vm(): what is asked for, drawn, moved
 *     early-fdt.c      the command line and the seeds, from the device tree
 *     early-stop.c     a word to the console, and no boot
 *     early-options.c  }
 *     early-random.c   } the boot stub's own, as on x86-64
 *     early-draw.c     }
 *     late.c           with the MMU on: ranges that were contiguous; the log line
 *     test.c           the self-test, with cost.c and dma.c
 *
 * The flat Image begins with page 0; page i of the image is its bytes from
 * i * 4096, and lies at physical + i * 4096 if it does not move. When pages have
 * moved, the bytes of page i are those of frame i + forward[i] / 4096.
 */

#ifndef KPERM_DESCRIPTOR_H
#define KPERM_DESCRIPTOR_H

#include <linux/types.h>

enum mode { LINEAR = 0, BAKED = 1, DRAWN_AT_BOOT = 2 };
enum state { NOT_ASKED = 0, PERMUTED = 1, SWITCHED_OFF = 2, REFUSED = 3 };
enum source {
	FROM_RNG_SEED = 1,	/* /chosen/rng-seed */
	FROM_KASLR_SEED = 2,	/* /chosen/kaslr-seed */
	FROM_TIME = 4,		/* the time counter: guessable */
	FROM_COMMAND_LINE = 8,
	FROM_TOOL = 16,
};

#define CROSS_CLASS 1 /* in flags */

/*
 * The descriptor, on the first page of section .kperm: page-aligned in memory and in the flat Image. A page that
 * begins with the magic is the descriptor if `self` is where it lies. Little-endian; offsets and sizes in bytes,
 * offsets from the image's start.
 */
struct descriptor {
	u8 magic[8];		/* 0x00 "kperm\0rv" */
	u32 version;		/* 0x08 1 */
	u32 bytes;		/* 0x0c of this structure */
	u32 self;		/* 0x10 offset of this structure */
	u32 image;		/* 0x14 size in memory, as the Image's header has it */
	u32 stored;		/* 0x18 size without the BSS, which the Image may lack from here on; page-aligned */
	u32 page;		/* 0x1c 4096 */
	u32 entries;		/* 0x20 of each table */
	u32 forward;		/* 0x24 offset: s32 [entries], for each page: its frame's place less its own, in bytes */
	u32 inverse;		/* 0x28 offset: s32 [entries], for each frame: its page's place less its own, in bytes */
	u32 classes;		/* 0x2c offset: struct class_range [class_count]: pages that may trade places */
	u32 class_count;	/* 0x30 */
	u32 pins;		/* 0x34 offset: struct pin_range [pin_count]: pages that stay, and why */
	u32 pin_count;		/* 0x38 */
	/* set by the tool, or at boot */
	u32 mode;		/* 0x3c enum mode */
	u32 flags;		/* 0x40 */
	u32 moved;		/* 0x44 pages whose frame differs */
	/* set at boot */
	u32 sources;		/* 0x48 enum source */
	u32 state;		/* 0x4c enum state */
	u64 physical;		/* 0x50 address of the image's start, 0 before */
	u64 link;		/* 0x58 virtual address of the image's start, set by the linker */
	u32 original;		/* 0x60 size of the file before the tool wrote to it; 0: it did not */
	/* set at boot */
	u32 draw_ticks;		/* 0x64 of the time counter, for drawing the order */
	u32 move_ticks;		/* 0x68 and for moving the pages */
	/* set by the linker */
	u32 changed;		/* 0x6c offset: struct class_range [changed_count]: what the kernel itself changes */
	u32 changed_count;	/* 0x70 */
	u32 started;		/* 0x74 offset of start_kernel(): from there on the image is mapped */
};

/* From the page of `start` to the page of `end`, `end` not included if it begins a page. */
struct class_range {
	char name[24];
	u32 start, end;
};

struct pin_range {
	char reason[56];
	u32 start, end;
};

/*
 * The names of what the kernel changes in its image, though it is text, or read-only later:
 *
 *     start    bytes that differ when start_kernel() begins
 *     init     bytes that are written before they become read-only
 *     patched  instructions that are exchanged while it runs
 *     mcount   u64 []: addresses of functions, whose first nops are exchanged while it runs
 *     jumps    struct jump_entry []: instructions that are exchanged while it runs
 */
extern struct descriptor kperm_descriptor;

#endif
