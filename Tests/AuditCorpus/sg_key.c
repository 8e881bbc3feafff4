// SPDX-License-Identifier: GPL-2.0-only
/* A key slot's contents, mapped as a list of one. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_BSS(4085);
static u8 slot[32] IN_ORDER __aligned(1);

int slot_program(struct device *dev, const u8 *key, void (*write)(dma_addr_t dma, unsigned int bytes))
{
	struct scatterlist sg;

	memcpy(slot, key, sizeof(slot));
	sg_init_one(&sg, slot, sizeof(slot));
	if (!dma_map_sg(dev, &sg, 1, DMA_TO_DEVICE))
		return -EIO;
	write(sg_dma_address(&sg), sg_dma_len(&sg));
	dma_unmap_sg(dev, &sg, 1, DMA_TO_DEVICE);
	memzero_explicit(slot, sizeof(slot));
	return 0;
}
MODULE_LICENSE("GPL");
