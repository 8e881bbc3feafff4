// SPDX-License-Identifier: GPL-2.0-only
/* A queue of four pages that the device is told of one by one. */
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include "place.h"

#define QUEUE_PAGES 4

static u8 queue[QUEUE_PAGES][PAGE_SIZE] IN_ORDER __aligned(PAGE_SIZE);
static dma_addr_t queue_dma[QUEUE_PAGES];

int queue_map(struct device *dev, void __iomem *list)
{
	int i;

	for (i = 0; i < QUEUE_PAGES; i++) {
		queue_dma[i] = dma_map_page(dev, virt_to_page(queue[i]), 0, PAGE_SIZE, DMA_FROM_DEVICE);
		if (dma_mapping_error(dev, queue_dma[i]))
			goto undo;
		writeq(queue_dma[i], list + 8 * i);
	}
	return 0;
undo:
	while (--i >= 0)
		dma_unmap_page(dev, queue_dma[i], PAGE_SIZE, DMA_FROM_DEVICE);
	return -ENOMEM;
}
MODULE_LICENSE("GPL");
