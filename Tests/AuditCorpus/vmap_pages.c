// SPDX-License-Identifier: GPL-2.0-only
/* Makes an uncached alias of a static area from its pages, one by one. */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include "place.h"

static u8 shared[2 * PAGE_SIZE] IN_ORDER __aligned(PAGE_SIZE);

void *shared_alias(void)
{
	struct page *pages[sizeof(shared) / PAGE_SIZE];
	int i;

	for (i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = virt_to_page(shared + i * PAGE_SIZE);
	return vmap(pages, ARRAY_SIZE(pages), VM_MAP, pgprot_noncached(PAGE_KERNEL));
}
MODULE_LICENSE("GPL");
