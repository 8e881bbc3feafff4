// SPDX-License-Identifier: GPL-2.0-only
/* How much of a static buffer is mapped, the caller says. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(3840);
static u8 outbox[1024] IN_ORDER;

int outbox_send(struct device *dev, const void *data, size_t bytes, dma_addr_t *dma)
{
	if (bytes > sizeof(outbox))
		return -EMSGSIZE;
	memcpy(outbox, data, bytes);
	*dma = dma_map_single(dev, outbox, bytes, DMA_TO_DEVICE);
	return dma_mapping_error(dev, *dma);
}
MODULE_LICENSE("GPL");
