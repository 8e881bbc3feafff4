// SPDX-License-Identifier: GPL-2.0-only

/*
 * What an instrumented kernel notes when it translates addresses. Each place
 * that does so leads through a few instructions made by the tool, which push a
 * register, a result, a displacement and a number, and call the first instruction
 * here:
 *
 *     address  = register + displacement, as virtual address or less START_KERNEL_MAP
 *     result   = what it was translated to, or 0 where that is not known yet
 *     counters = one struct counter for each number
 *     slots    = a hash table of (number, address of the image), with counts and results
 *
 * Flags and all registers come back as they were. Any CPU may be here at any
 * time, in an interrupt of itself, too: all is counted by locked instructions,
 * and what finds no slot is counted as lost.
 */

#include "boot.h"

struct counter {
	u64 reached;		/* the place was reached */
	u64 image;		/* with an address of the image */
	u64 lost;		/* of these, those for which there was no slot */
};

struct slot {
	u64 key;		/* number, then the address's offset in the image, 32 bits each; the top bit is set */
	u64 count;
	u64 result;		/* the first one */
	u64 others;		/* how often it was another */
};

#define USED (1ull << 63)
/* How many slots are tried. */
#define TRIES 256

/* Filled in by the tool; distances are from here. */
struct record {
	s64 text;		/* to _text */
	s64 counters;
	s64 slots;
	u64 bytes;		/* of the image */
	u64 slot_count;		/* a power of two */
};

extern const volatile struct record record;
const volatile struct record record = { 0 };

static void increment(u64 *count)
{
	asm volatile("lock incq %0" : "+m"(*count) : : "cc");
}

/* The word's value before; where it was 0 it is `value` now. */
static u64 claim(u64 *word, u64 value)
{
	u64 before = 0;

	asm volatile("lock cmpxchgq %2, %0" : "+m"(*word), "+a"(before) : "r"(value) : "cc", "memory");
	return before;
}

__attribute__((used)) static void note(u64 value, u64 result, s64 displacement, u32 number)
{
	u64 here = (u64)&record;
	struct counter *counter = (struct counter *)(here + record.counters) + number;
	struct slot *slots = (struct slot *)(here + record.slots);
	u64 offset = value + displacement - (here + record.text);

	increment(&counter->reached);
	if (offset >= record.bytes) {
		offset += START_KERNEL_MAP;
		if (offset >= record.bytes)
			return;
	}
	increment(&counter->image);

	u64 key = USED | (u64)number << 32 | offset;
	u64 place = key * 0x9e3779b97f4a7c15ull >> 32;

	for (u32 i = 0; i < TRIES; i++, place++) {
		struct slot *slot = slots + (place & (record.slot_count - 1));
		u64 before = claim(&slot->key, key);

		if (before == 0 || before == key) {
			if (result) {
				u64 first = claim(&slot->result, result);

				if (first != 0 && first != result)
					increment(&slot->others);
			}
			increment(&slot->count);
			return;
		}
	}
	increment(&counter->lost);
}

/* The stack: return address, number, displacement, result, register; it goes back to where it was before these. */
asm(".pushsection .text.entry, \"ax\"\n"
    "	.globl entry\n"
    "entry:\n"
    "	pushfq\n"
    "	push %rax\n"
    "	push %rcx\n"
    "	push %rdx\n"
    "	push %rsi\n"
    "	push %rdi\n"
    "	push %r8\n"
    "	push %r9\n"
    "	push %r10\n"
    "	push %r11\n"
    "	cld\n"
    "	mov 88(%rsp), %ecx\n"
    "	mov 96(%rsp), %rdx\n"
    "	mov 104(%rsp), %rsi\n"
    "	mov 112(%rsp), %rdi\n"
    "	call note\n"
    "	pop %r11\n"
    "	pop %r10\n"
    "	pop %r9\n"
    "	pop %r8\n"
    "	pop %rdi\n"
    "	pop %rsi\n"
    "	pop %rdx\n"
    "	pop %rcx\n"
    "	pop %rax\n"
    "	popfq\n"
    "	ret $32\n"
    ".popsection\n");
