// SPDX-License-Identifier: MIT
#pragma once
#include <string.h>
#include <unicorn/unicorn.h>

/* Memory that an emulated processor finds: an image, and everywhere else words that are addresses of it. */
struct emulated_memory {
	uint64_t base;
	uint64_t size;
	const uint8_t *image;
	/* The first of those addresses, as the processor sees them in memory. */
	uint64_t words;
};

/* What is in a page at first. */
static inline void emulated_page(const struct emulated_memory *memory, uint64_t page, uint8_t *bytes)
{
	if (page - memory->base < memory->size) {
		memcpy(bytes, memory->image + (page - memory->base), 4096);
		return;
	}
	for (uint64_t at = 0; at < 4096; at += 8) {
		uint64_t word = (page + at + 1) * 0x9e3779b97f4a7c15ull;

		word = memory->words + (word ^ word >> 29) % memory->size;
		memcpy(bytes + at, &word, 8);
	}
}

static inline bool emulated_fault(
	uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value, void *memory)
{
	uint64_t last = (address + size - 1) & ~4095ull;

	(void)type;
	(void)value;
	for (uint64_t page = address & ~4095ull;; page += 4096) {
		uint8_t bytes[4096];

		emulated_page(memory, page, bytes);
		/* One of two may be there already. */
		if (uc_mem_map(uc, page, 4096, UC_PROT_ALL) == UC_ERR_OK &&
		    uc_mem_write(uc, page, bytes, 4096) != UC_ERR_OK)
			return false;
		if (page == last)
			return true;
	}
}

/* Has pages appear where the processor looks for them. `memory` must live as long as the processor. */
static inline uc_err emulated_memory_add(uc_engine *uc, struct emulated_memory *memory)
{
	uc_hook hook;

	return uc_hook_add(uc, &hook, UC_HOOK_MEM_UNMAPPED, (void *)emulated_fault, memory, 1, 0);
}
