// SPDX-License-Identifier: GPL-2.0-only
/* A static object over three pages becomes a list with an entry a page. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_BSS(1000);
static u8 trace_area[9000] IN_ORDER;
static struct scatterlist list[DIV_ROUND_UP(sizeof(trace_area), PAGE_SIZE) + 1];

int trace_map(struct device *dev)
{
	u8 *at = trace_area, *end = trace_area + sizeof(trace_area);
	int entries = 0;

	sg_init_table(list, ARRAY_SIZE(list));
	while (at < end) {
		unsigned int part = min_t(unsigned int, end - at, PAGE_SIZE - offset_in_page(at));

		sg_set_buf(&list[entries++], at, part);
		at += part;
	}
	sg_mark_end(&list[entries - 1]);
	return dma_map_sg(dev, list, entries, DMA_FROM_DEVICE) ? 0 : -EIO;
}
MODULE_LICENSE("GPL");
