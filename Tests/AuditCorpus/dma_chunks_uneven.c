// SPDX-License-Identifier: GPL-2.0-only
/* Feeds the same in chunks that do not divide a page. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

#define CHUNK 768

static u8 samples[12 * CHUNK] IN_ORDER __aligned(PAGE_SIZE) = { 0x7f, [9000] = 0xaa };

int samples_feed(struct device *dev, int (*feed)(dma_addr_t dma, unsigned int bytes))
{
	size_t offset;
	int ret = 0;

	for (offset = 0; !ret && offset < sizeof(samples); offset += CHUNK) {
		dma_addr_t dma = dma_map_single(dev, samples + offset, CHUNK, DMA_TO_DEVICE);

		if (dma_mapping_error(dev, dma))
			return -ENOMEM;
		ret = feed(dma, CHUNK);
		dma_unmap_single(dev, dma, CHUNK, DMA_TO_DEVICE);
	}
	return ret;
}
MODULE_LICENSE("GPL");
