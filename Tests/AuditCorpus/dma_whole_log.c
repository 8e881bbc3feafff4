// SPDX-License-Identifier: GPL-2.0-only
/* A log that other files write to, too, is shown to a device as one piece. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_DATA(720);
char corpus_log[6000] IN_ORDER = "start\n";
unsigned int corpus_logged = 6;

dma_addr_t log_show(struct device *dev)
{
	dma_addr_t dma = dma_map_single_attrs(dev, corpus_log, sizeof(corpus_log), DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);

	if (!dma_mapping_error(dev, dma))
		dma_sync_single_for_device(dev, dma, corpus_logged, DMA_TO_DEVICE);
	return dma;
}
MODULE_LICENSE("GPL");
