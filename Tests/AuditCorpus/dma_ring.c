// SPDX-License-Identifier: GPL-2.0-only
/* A descriptor ring of two pages in bss, mapped once for both directions. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include "place.h"

struct descriptor {
	__le64 address;
	__le32 length, flags;
};

static struct descriptor ring[512] IN_ORDER __aligned(4096);
static dma_addr_t ring_dma;

static int ring_probe(struct platform_device *pdev)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ring); i++)
		ring[i].flags = cpu_to_le32(i == ARRAY_SIZE(ring) - 1 ? 3 : 1);
	ring_dma = dma_map_single(&pdev->dev, ring, sizeof(ring), DMA_BIDIRECTIONAL);
	return dma_mapping_error(&pdev->dev, ring_dma) ? -ENOMEM : 0;
}

static int ring_remove(struct platform_device *pdev)
{
	dma_unmap_single(&pdev->dev, ring_dma, sizeof(ring), DMA_BIDIRECTIONAL);
	return 0;
}

static struct platform_driver ring_driver = {
	.probe = ring_probe,
	.remove = ring_remove,
	.driver.name = "corpus-ring",
};
module_platform_driver(ring_driver);
MODULE_LICENSE("GPL");
