// SPDX-License-Identifier: GPL-2.0-only
/* A structure over two pages, of which the device is given a member that lies in the second alone. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include "place.h"

ROOM_IN_BSS(3904);
static struct engine {
	struct mutex lock;
	unsigned long users;
	char name[160];
	u8 window[64] __aligned(64);
} engine IN_ORDER;

dma_addr_t engine_window(struct device *dev)
{
	dma_addr_t dma;

	mutex_lock(&engine.lock);
	scnprintf(engine.name, sizeof(engine.name), "%s/%lu", dev_name(dev), ++engine.users);
	dma = dma_map_single(dev, engine.window, sizeof(engine.window), DMA_FROM_DEVICE);
	mutex_unlock(&engine.lock);
	return dma;
}
MODULE_LICENSE("GPL");
