// SPDX-License-Identifier: GPL-2.0-only
/* Static microcode reaches the device by way of coherent memory. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_RODATA(2222);
static const u8 microcode[6000] IN_ORDER = { 0x4d, 0x43, [5999] = 0x21 };

void *microcode_load(struct device *dev, dma_addr_t *dma)
{
	void *coherent = dma_alloc_coherent(dev, sizeof(microcode), dma, GFP_KERNEL);

	if (coherent)
		memcpy(coherent, microcode, sizeof(microcode));
	return coherent;
}
MODULE_LICENSE("GPL");
