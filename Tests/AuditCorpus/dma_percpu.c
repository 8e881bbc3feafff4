// SPDX-License-Identifier: GPL-2.0-only
/* A scratch area for each CPU. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include "place.h"

static DEFINE_PER_CPU(u8[4000], room) IN_ORDER __used __aligned(4096);
static DEFINE_PER_CPU(u8[256], scratch) IN_ORDER;

int scratch_send(struct device *dev, const u8 *data, size_t bytes, void (*go)(dma_addr_t dma))
{
	u8 *mine = get_cpu_var(scratch);
	dma_addr_t dma;
	int ret = -ENOMEM;

	memcpy(mine, data, min_t(size_t, bytes, 256));
	dma = dma_map_single(dev, mine, 256, DMA_TO_DEVICE);
	if (!dma_mapping_error(dev, dma)) {
		go(dma);
		dma_unmap_single(dev, dma, 256, DMA_TO_DEVICE);
		ret = 0;
	}
	put_cpu_var(scratch);
	return ret;
}
MODULE_LICENSE("GPL");
