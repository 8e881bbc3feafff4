// SPDX-License-Identifier: GPL-2.0-only
/* Feeds two static pages to a device in sectors. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

#define SECTOR 512

static u8 firmware[2 * PAGE_SIZE] IN_ORDER __aligned(PAGE_SIZE) = { 0x7f, [8191] = 0xaa };

int firmware_feed(struct device *dev, int (*feed)(dma_addr_t dma, unsigned int bytes))
{
	u8 *at;

	for (at = firmware; at < firmware + sizeof(firmware); at += SECTOR) {
		dma_addr_t dma = dma_map_single(dev, at, SECTOR, DMA_TO_DEVICE);
		int ret;

		if (dma_mapping_error(dev, dma))
			return -ENOMEM;
		ret = feed(dma, SECTOR);
		dma_unmap_single(dev, dma, SECTOR, DMA_TO_DEVICE);
		if (ret)
			return ret;
	}
	return 0;
}
MODULE_LICENSE("GPL");
