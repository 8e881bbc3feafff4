// SPDX-License-Identifier: GPL-2.0-only
/* Asks the page tables for each page of an object, so that it matters not where they are. */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include "place.h"

static u8 window[3 * PAGE_SIZE] IN_ORDER __aligned(PAGE_SIZE);

void window_share(void __iomem *regs)
{
	unsigned int i;

	for (i = 0; i < sizeof(window); i += PAGE_SIZE)
		writeq(page_to_phys(vmalloc_to_page(window + i)), regs + i / PAGE_SIZE * 8);
}

u8 window_byte(unsigned int i)
{
	return READ_ONCE(window[i % sizeof(window)]);
}
MODULE_LICENSE("GPL");
