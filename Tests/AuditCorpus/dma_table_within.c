// SPDX-License-Identifier: GPL-2.0-only
/* A table of pointers to buffers and names; only a name is long. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_DATA(3600);
static u8 low[128] IN_ORDER = { 1 }, mid[128] IN_ORDER = { 2 }, high[128] IN_ORDER = { 3 };
static char description[400] IN_ORDER = "from the lowest to the highest";

static struct level {
	u8 *bytes;
	const char *text;
} levels[] = { { low, "low" }, { mid, "middle" }, { high, description } };

dma_addr_t level_map(struct device *dev, unsigned int which, u8 trim)
{
	struct level *level = &levels[min_t(unsigned int, which, ARRAY_SIZE(levels) - 1)];

	level->bytes[1] = trim;
	dev_dbg(dev, "level %s\n", level->text);
	return dma_map_single(dev, level->bytes, 128, DMA_TO_DEVICE);
}

const char *level_text(unsigned int which)
{
	return levels[which % ARRAY_SIZE(levels)].text;
}
MODULE_LICENSE("GPL");
