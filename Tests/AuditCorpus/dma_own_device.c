// SPDX-License-Identifier: GPL-2.0-only
/* The device itself is a static object, and a large one; what it maps is not. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include "place.h"

static u64 own_mask = DMA_BIT_MASK(32);
static void *own_page;
static dma_addr_t own_dma;

static void own_release(struct device *dev)
{
}

ROOM_IN_DATA(3800);
static struct platform_device own_device IN_ORDER = {
	.name = "corpus-own",
	.id = -1,
	.dev = { .release = own_release, .dma_mask = &own_mask, .coherent_dma_mask = DMA_BIT_MASK(32) },
};

static int __init own_init(void)
{
	int ret = platform_device_register(&own_device);

	if (ret)
		return ret;
	own_page = (void *)__get_free_page(GFP_KERNEL);
	if (!own_page)
		return -ENOMEM;
	own_dma = dma_map_single(&own_device.dev, own_page, PAGE_SIZE, DMA_TO_DEVICE);
	return dma_mapping_error(&own_device.dev, own_dma);
}
module_init(own_init);
MODULE_LICENSE("GPL");
