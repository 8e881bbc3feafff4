// SPDX-License-Identifier: GPL-2.0-only
/* What came into a heap buffer is then copied to static memory. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "place.h"

ROOM_IN_BSS(4000);
static u8 latest[200] IN_ORDER;

int latest_fetch(struct device *dev, int (*wait)(dma_addr_t dma))
{
	u8 *bounce = kmalloc(sizeof(latest), GFP_KERNEL | GFP_DMA);
	dma_addr_t dma;
	int ret = -ENOMEM;

	if (!bounce)
		return ret;
	dma = dma_map_single(dev, bounce, sizeof(latest), DMA_FROM_DEVICE);
	if (dma_mapping_error(dev, dma))
		goto out;
	ret = wait(dma);
	dma_unmap_single(dev, dma, sizeof(latest), DMA_FROM_DEVICE);
	if (!ret)
		memcpy(latest, bounce, sizeof(latest));
out:
	kfree(bounce);
	return ret;
}

u8 latest_byte(unsigned int i)
{
	return latest[i % sizeof(latest)];
}
MODULE_LICENSE("GPL");
