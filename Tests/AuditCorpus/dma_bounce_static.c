// SPDX-License-Identifier: GPL-2.0-only
/* The other way about: the bounce buffer is what is static. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include "place.h"

static DEFINE_SPINLOCK(bounce_lock);
ROOM_IN_BSS(3000);
static u8 bounce[2048] IN_ORDER __aligned(8);

int bounce_send(struct device *dev, const void *data, size_t bytes, void (*go)(dma_addr_t dma))
{
	dma_addr_t dma;
	int ret = -ENOMEM;

	if (bytes > sizeof(bounce))
		return -EMSGSIZE;
	spin_lock(&bounce_lock);
	memcpy(bounce, data, bytes);
	memset(bounce + bytes, 0, sizeof(bounce) - bytes);
	dma = dma_map_single(dev, bounce, sizeof(bounce), DMA_TO_DEVICE);
	if (!dma_mapping_error(dev, dma)) {
		go(dma);
		dma_unmap_single(dev, dma, sizeof(bounce), DMA_TO_DEVICE);
		ret = 0;
	}
	spin_unlock(&bounce_lock);
	return ret;
}
MODULE_LICENSE("GPL");
