// SPDX-License-Identifier: GPL-2.0-only
/* Tests a device once, at the start, with a buffer that is thrown away after it. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

static u8 room[4064] ROOM __initdata = { 1 };
static u8 loopback[64] IN_ORDER __initdata = { 0xde, 0xad };

extern struct device *corpus_device;
extern int corpus_loop(dma_addr_t dma, size_t bytes);

static int __init loopback_init(void)
{
	dma_addr_t dma = dma_map_single(corpus_device, loopback, sizeof(loopback), DMA_BIDIRECTIONAL);
	int ret;

	if (dma_mapping_error(corpus_device, dma))
		return -ENOMEM;
	ret = corpus_loop(dma, sizeof(loopback));
	dma_unmap_single(corpus_device, dma, sizeof(loopback), DMA_BIDIRECTIONAL);
	return ret ?: loopback[63] == 0xad ? 0 : -EIO;
}
module_init(loopback_init);
MODULE_LICENSE("GPL");
