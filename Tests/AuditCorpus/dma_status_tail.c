// SPDX-License-Identifier: GPL-2.0-only
/* A status block that is the last thing of its section and ends with a page. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

#define STATUS __section(".data.status") IN_ORDER

static u8 state[3968] STATUS __used __aligned(4096) = { 1 };
static u8 status_block[128] STATUS = { 0xff };

dma_addr_t status_map(struct device *dev)
{
	return dma_map_single(dev, status_block, sizeof(status_block), DMA_FROM_DEVICE);
}

u8 status_read(struct device *dev, dma_addr_t dma)
{
	dma_sync_single_for_cpu(dev, dma, sizeof(status_block), DMA_FROM_DEVICE);
	return status_block[127];
}
MODULE_LICENSE("GPL");
