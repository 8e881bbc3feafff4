// SPDX-License-Identifier: GPL-2.0-only
/* The list itself is static and long; its entries are pages of the allocator. */
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_BSS(3904);
static struct scatterlist entries[16] IN_ORDER;

int entries_map(struct device *dev)
{
	struct scatterlist *sg;
	int i;

	sg_init_table(entries, ARRAY_SIZE(entries));
	for_each_sg(entries, sg, ARRAY_SIZE(entries), i) {
		struct page *page = alloc_page(GFP_KERNEL);

		if (!page)
			return -ENOMEM;
		sg_set_page(sg, page, PAGE_SIZE, 0);
	}
	return dma_map_sg(dev, entries, ARRAY_SIZE(entries), DMA_FROM_DEVICE) ? 0 : -EIO;
}
MODULE_LICENSE("GPL");
