// SPDX-License-Identifier: GPL-2.0-only
/* Settings that are fixed when the kernel has started, read by the device ever after. */
#include <linux/cache.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

static u8 room[2048] ROOM __ro_after_init = { 1 };
static struct {
	__le32 clock, lanes, mode[6];
} settings IN_ORDER __ro_after_init = { .lanes = cpu_to_le32(4) };

static int __init settings_init(void)
{
	settings.clock = cpu_to_le32(594000);
	settings.mode[5] = cpu_to_le32(1);
	return 0;
}
module_init(settings_init);

dma_addr_t settings_map(struct device *dev)
{
	return dma_map_single(dev, &settings, sizeof(settings), DMA_TO_DEVICE);
}
MODULE_LICENSE("GPL");
