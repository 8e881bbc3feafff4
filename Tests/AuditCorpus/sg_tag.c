// SPDX-License-Identifier: GPL-2.0-only
/* An authentication tag that the device writes, in the middle of a page. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_BSS(2050);
static u8 tag[16] IN_ORDER;

int tag_expect(struct device *dev, struct scatterlist *sg)
{
	sg_init_one(sg, tag, sizeof(tag));
	return dma_map_sg(dev, sg, 1, DMA_FROM_DEVICE) == 1 ? 0 : -EIO;
}

bool tag_equals(const u8 *other)
{
	return !memcmp(tag, other, sizeof(tag));
}
MODULE_LICENSE("GPL");
