/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The boot stub of x86-64: a permutation of the kernel image's page frames that
 * is drawn and put into effect at every boot. What is known when the kernel is
 * made bootable (which pages may trade places) comes from the tool; what differs
 * from boot to boot (the seed, where the kernel was loaded) is found here.
 *
 * Everything lies in the boot area, memory behind the image that the loader
 * provides and the kernel does not use. The tool fills in its first bytes:
 *
 *     header | code | class records | manifest || status | table | page tables | work
 *                                    provided ^^ filled in by the stub
 *
 * The order behind the header is free, each offset stands in the header. When
 * the kernel starts, its own mapping of that memory has been dropped. The direct
 * map shows it, added by Linux's early page-fault handler on demand, but not for
 * execution; so the trampoline looks there whether the area is whole, and then
 * puts the mapping back until the kernel drops it again (cleanup_highmap).
 *
 *     trampoline.S  from the kernel into the area and back; the log line and file
 *     entry.c       what takes privileges: control registers, ports, halting
 *     permute.c     the steps in their order, refusals, the status text
 *     options.c     the command line
 *     entropy.c     a seed, when none is given
 *     random.c      BLAKE2b, ChaCha20 and the stream of numbers made of them
 *     draw.c        drawing algorithm 1
 *     install.c     page tables, the move, the tables of the order
 *
 * All but entry.c and trampoline.S also run in an ordinary process, where the
 * tests have them permute a pretended kernel.
 */

#ifndef KPERM_BOOT_H
#define KPERM_BOOT_H

/* Nothing here is reached through a table of addresses: the code is not relocated. */
#pragma GCC visibility push(hidden)

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define PAGE 4096ull
#define LARGE (512 * PAGE)
#define START_KERNEL_MAP 0xffffffff80000000ull
/* Where the direct map begins in kernels that cannot move it. */
#define PAGE_OFFSET_BASE 0xffff888000000000ull

enum state { PERMUTED = 1, SWITCHED_OFF = 2, REFUSED = 3, HALTED = 4 };

enum source {
	FROM_RDSEED = 1,
	FROM_RDRAND = 2,
	FROM_SETUP_DATA = 4,
	FROM_EFI = 8,
	FROM_KASLR = 16,
	FROM_TSC = 32,
	FROM_COMMAND_LINE = 64,
	FROM_TOOL = 128,
	/* One of these is enough for a seed that nobody can guess. */
	STRONG_SOURCES = FROM_RDSEED | FROM_RDRAND | FROM_SETUP_DATA | FROM_EFI,
};

#define SEED_GIVEN 1 /* in flags */

/* The header. Little-endian; offsets count from the start of the area unless they say otherwise. */
struct area {
	/* 0x00: what this is; it is looked at before anything here is believed */
	u64 magic;		/* "KPERMBT1" */
	u32 version;		/* 1 */
	u32 provided;		/* bytes that the tool filled in, a multiple of 8 */
	u64 checksum;		/* sum of the u64 words from 0x100 to provided */
	u64 size;		/* bytes in all, whole pages: what the kernel has to reserve */
	/* 0x20: what became of it */
	u32 state;		/* enum state, 0 before */
	u32 go;			/* with kperm.wait the boot goes on when this is not 0 */
	u32 sources;		/* of the seed, enum source */
	u32 moved;		/* pages whose frame differs */
	u8 seed[32];		/* given by the tool; wiped when it has been used */
	u8 spare[0x100 - 0x50];
	/* 0x100: constants */
	u32 flags;
	u32 pages;		/* of the image, from _text */
	u32 counted;		/* pages that percentages are of */
	u32 granule;		/* pages that move together */
	u64 text_link;		/* _text as linked: virtual, physical */
	u64 text_physical;
	s64 level2_kernel_pgt;	/* symbols, relative to _text; 0 where the kernel lacks one */
	s64 phys_base;
	s64 page_offset_base;
	s64 boot_params;
	s64 boot_command_line;
	u32 command_line_bytes;
	u32 classes;		/* number of class records */
	u32 records;		/* offset of struct class_record[classes] */
	u32 table;		/* offset of the translation table, KPERMTBL version 1 */
	u32 tables;		/* offset of the page tables: a page for each 2 MB the image touches */
	u32 status;		/* offset of struct status */
	u32 work;		/* offset of work memory, page aligned */
	u32 work_bytes;
	u32 manifest;		/* offset of the tool's notes, for the tool */
	u32 entry;		/* offset of the code's first instruction */
	u64 copy;		/* from the area to the copy of it that the decompressor leaves behind; 0: none */
	u64 front;		/* bytes in front of the area that the kernel has to reserve, too: an instrumented one's notes */
	u64 lookup;		/* what rewritten translations ask, relative to _text; 0: none */
	u8 reserved[0x200 - 0x188];
};

/* A page class: what trades places among itself. Ranges and runs are in granules. */
struct class_record {
	u32 domain;		/* offset of the stream's domain, "kperm/1/text" */
	u32 domain_bytes;
	u32 ranges;		/* offset of struct range[]: what moves, ascending */
	u32 range_count;
	u32 runs;		/* offset of struct range[]: glued runs among them, in the order they are placed */
	u32 run_count;
};

struct range {
	u32 first;
	u32 count;
};

/* As debugfs_create_blob takes it; the pointer is filled in when it is handed over. */
struct status {
	u64 pointer;
	u64 size;
	char text[512 - 16];
};
#define STATUS_BYTES 490

/* The live translation table; kperm's TableLookup.swift reads it. */
struct table {
	u64 magic;		/* "KPERMTBL" */
	u16 version;		/* 1 */
	u16 flags;		/* 0: drawn at boot */
	u32 pages;
	u64 virtual_base;
	u64 physical_base;
	u32 moved;
	u32 checksum;		/* CRC-32C of the table with this field zero */
	u32 order[];		/* frame of each page, then page in each frame */
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
	u32 input[16];		/* constants, key, counter, nonce */
	u32 words[16];		/* the block made of it */
	u32 used;		/* words taken of the block */
};

/* Secrets, all in one place to be wiped. */
struct secrets {
	u8 seed[32];
	struct blake2b hash;
	struct stream stream;
};

/* Work memory: a page of secrets, a page to bounce through, then for each page of the image a free slot and a mark. */
struct work {
	union {
		struct secrets secrets;
		u8 page[PAGE];
	};
	u8 bounce[PAGE];
	u32 slots[];
};
#define WORK_BYTES_PER_PAGE 5

struct options {
	u8 off, require, wait;
	const char *seed;	/* 64 hexadecimal digits, or 0 */
	const char *malformed;	/* what is wrong with them, or 0 */
};

/* The processor and where things are, as entry.c finds them. */
struct machine {
	struct area *area;	/* in the kernel's mapping */
	u64 area_physical;
	u64 text;		/* virtual address of _text */
	u64 physical;		/* its physical address */
	u64 direct;		/* virtual address of physical address 0 */
	u64 stack;		/* an address on the stack in use */
	u64 cr3, cr4, efer;
	/* set on the way */
	struct options options;
	struct work *work;
	struct table *table;
	struct status *status;
	u32 *forward, *inverse;
	u8 *marks;
	u32 level2;		/* entry of level2_kernel_pgt for the image's start */
	u32 table_count;
};

/* random.c */
void blake2b_start(struct blake2b *hash, const u8 *key, u32 key_bytes);
void blake2b_add(struct blake2b *hash, const void *data, u64 bytes);
void blake2b_finish(struct blake2b *hash, u8 digest[32]);
void stream_start(struct secrets *secrets, const void *domain, u32 domain_bytes);
void chacha20_block(struct stream *stream);
u32 stream_uniform(struct stream *stream, u32 below);

/* The functions below that give text give the reason for a refusal, or 0. */
const char *draw(struct machine *m);
void parse_options(char *line, u32 bytes, struct options *options);
void hide_seeds(char *line, u32 bytes);
void decode_seed(const char *digits, u8 seed[32]);
u32 gather_entropy(struct machine *m);
int is_32_bit_firmware(struct machine *m);
const char *check_mapping(struct machine *m);
void build_tables(struct machine *m);
void write_lookup(struct machine *m);
void move_pages(struct machine *m);
void install_tables(struct machine *m);
void write_table(struct machine *m);
u32 permute(struct machine *m);
/* Drops all that the processor remembers of the old mapping. */
void flush(void);

static inline void *at(const struct area *area, u32 offset)
{
	return (u8 *)area + offset;
}

static inline u64 image_word(u64 text, s64 offset)
{
	return *(const volatile u64 *)(text + offset);
}

/* These two may not be left out by the compiler, whatever it thinks of the memory's future. */
static inline void wipe(void *memory, u64 bytes)
{
	asm volatile("rep stosb" : "+D"(memory), "+c"(bytes) : "a"(0) : "memory");
}

static inline void copy_page(u64 to, u64 from)
{
	u64 words = PAGE / 8;

	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

#pragma GCC visibility pop
#endif
