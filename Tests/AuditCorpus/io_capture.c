// SPDX-License-Identifier: GPL-2.0-only
/* Copies from a device's memory, and maps what it made of it on the heap. */
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "place.h"

ROOM_IN_BSS(2500);
static u8 capture[2000] IN_ORDER;

dma_addr_t capture_forward(struct device *dev, const void __iomem *fifo, u8 **packed)
{
	int i;

	memcpy_fromio(capture, fifo, sizeof(capture));
	*packed = kmalloc(sizeof(capture) / 2, GFP_KERNEL);
	if (!*packed)
		return DMA_MAPPING_ERROR;
	for (i = 0; i < sizeof(capture) / 2; i++)
		(*packed)[i] = capture[2 * i] >> 4 | (capture[2 * i + 1] & 0xf0);
	return dma_map_single(dev, *packed, sizeof(capture) / 2, DMA_TO_DEVICE);
}
MODULE_LICENSE("GPL");
