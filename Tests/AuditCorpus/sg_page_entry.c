// SPDX-License-Identifier: GPL-2.0-only
// build: -Os
/* Builds an entry from page, length and offset, and maps the table that it is in. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_DATA(600);
static u32 lookup[1024] IN_ORDER = { 7, 77, 777 };

int lookup_map(struct device *dev, struct sg_table *table, u32 scale)
{
	int i, ret = sg_alloc_table(table, 1, GFP_KERNEL);

	if (ret)
		return ret;
	for (i = 0; i < ARRAY_SIZE(lookup); i++)
		lookup[i] *= scale;
	sg_set_page(table->sgl, virt_to_page(lookup), sizeof(lookup), offset_in_page(lookup));
	return dma_map_sgtable(dev, table, DMA_TO_DEVICE, 0);
}
MODULE_LICENSE("GPL");
