// SPDX-License-Identifier: GPL-2.0-only

/*
 * Where the kernel takes a part of its image for one range of physical memory, the
 * same for a part whose pages lie anywhere; and the word to the administrator.
 */

#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <asm/sections.h>
#include <asm/set_memory.h>
#include "descriptor.h"

EXPORT_SYMBOL(kperm_forward);
EXPORT_SYMBOL(kperm_inverse);

/* The image address that shows the frame behind an address of the linear map, or 0. */
static unsigned long image_address(unsigned long alias)
{
	unsigned long pa = linear_mapping_va_to_pa(alias);

	if (!is_linear_mapping(alias) || pa < kernel_map.phys_addr || pa - kernel_map.phys_addr >= kernel_map.size)
		return 0;
	return (unsigned long)kernel_mapping_pa_to_va(pa);
}

bool kperm_alias_is_text(unsigned long va)
{
	unsigned long address = image_address(va);

	return address && is_va_kernel_text(address);
}

bool kperm_overlaps_text_alias(unsigned long address, unsigned long bytes)
{
	unsigned long page;

	for (page = address & PAGE_MASK; page < address + bytes; page += PAGE_SIZE) {
		unsigned long shown = image_address(page);

		if (shown >= (unsigned long)_stext && shown < (unsigned long)_etext)
			return true;
	}
	return false;
}

/* The image's part of the linear map has permissions page by page. */
unsigned long __init kperm_map_size(unsigned long pa, unsigned long best)
{
	unsigned long end = ALIGN(kernel_map.phys_addr + kernel_map.size, PMD_SIZE);

	return pa >= kernel_map.phys_addr && pa < end ? PAGE_SIZE : best;
}

void kperm_set_alias(const char *start, const char *end, int (*set_memory)(unsigned long start, int num_pages))
{
	for (; start < end; start += PAGE_SIZE)
		set_memory((unsigned long)lm_alias(start), 1);
}

static const char *entropy(void)
{
	u32 sources = kperm_descriptor.sources;

	if (sources & FROM_TOOL)
		return "order set in the image";
	if (sources & FROM_COMMAND_LINE)
		return "drawn from kperm.seed=, which is for tests";
	if (sources & FROM_RNG_SEED)
		return sources & FROM_KASLR_SEED ? "drawn from the device tree's rng-seed and kaslr-seed" :
						   "drawn from the device tree's rng-seed";
	if (sources & FROM_KASLR_SEED)
		return "drawn from the device tree's kaslr-seed";
	return "drawn from the time counter alone, for the device tree has no seed: it can be guessed";
}

static char status[160];
static struct debugfs_blob_wrapper blob = { .data = status };

static int __init kperm_announce(void)
{
	const struct descriptor *d = &kperm_descriptor;
	const struct class_range *classes = (void *)(_start + d->classes);
	u32 pages = 0, i;

	for (i = 0; i < d->class_count; i++)
		pages += DIV_ROUND_UP(classes[i].end, PAGE_SIZE) - DIV_ROUND_UP(classes[i].start, PAGE_SIZE);
	for (i = 0; i < d->pin_count; i++)
		pages += DIV_ROUND_UP(((struct pin_range *)(_start + d->pins))[i].end, PAGE_SIZE) -
			 ((struct pin_range *)(_start + d->pins))[i].start / PAGE_SIZE;
	if (d->state == PERMUTED)
		blob.size = scnprintf(status, sizeof(status), "kperm: permuted, %u of %u pages moved%s, %s\n", d->moved,
				      pages, d->flags & CROSS_CLASS ? " across classes" : "", entropy());
	else
		blob.size = scnprintf(status, sizeof(status), "kperm: not permuted, %s\n",
				      d->state == SWITCHED_OFF ? "switched off by kperm=off" :
				      d->state == REFUSED ? "the options or classes are malformed" : "not asked to");
	pr_info("%s", status);
	debugfs_create_blob("status", 0400, debugfs_create_dir("kperm", NULL), &blob);
	return 0;
}
late_initcall(kperm_announce);
