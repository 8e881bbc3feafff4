// SPDX-License-Identifier: GPL-2.0-only
/* Patterns are found through a table of pointers. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_DATA(3900);
static u8 solid[64] IN_ORDER = { 0xff };
static u8 checker[256] IN_ORDER = { 0xaa, 0x55 };
static u8 stripes[64] IN_ORDER = { 0xf0 };

static const struct {
	u8 *bytes;
	size_t size;
} patterns[] = {
	{ solid, sizeof(solid) },
	{ checker, sizeof(checker) },
	{ stripes, sizeof(stripes) },
};

dma_addr_t pattern_map(struct device *dev, unsigned int which)
{
	if (which >= ARRAY_SIZE(patterns))
		return DMA_MAPPING_ERROR;
	return dma_map_single(dev, patterns[which].bytes, patterns[which].size, DMA_TO_DEVICE);
}
MODULE_LICENSE("GPL");
