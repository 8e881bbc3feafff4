// SPDX-License-Identifier: GPL-2.0-only
// build: -Os
/* One whole page for a controller's context. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

struct context {
	__le64 base[512];
};

static struct context context IN_ORDER __aligned(PAGE_SIZE) = { .base = { cpu_to_le64(1) } };
static u8 behind[64] IN_ORDER __used = { 1 };

int context_map(struct device *dev, dma_addr_t *dma)
{
	*dma = dma_map_page(dev, virt_to_page(&context), 0, sizeof(context), DMA_BIDIRECTIONAL);
	return dma_mapping_error(dev, *dma);
}
MODULE_LICENSE("GPL");
