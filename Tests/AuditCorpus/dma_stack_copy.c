// SPDX-License-Identifier: GPL-2.0-only
/* A request is put together on the stack, from a static template, and sent from the heap. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "place.h"

struct request_block {
	__le32 header[4];
	u8 body[80];
};

ROOM_IN_DATA(4048);
static struct request_block template IN_ORDER = { .header = { cpu_to_le32(0x10001) } };

int request_send(struct device *dev, u32 id, void **sent, dma_addr_t *dma)
{
	struct request_block block = template;

	block.header[1] = cpu_to_le32(id);
	memset(block.body, id, 8);
	*sent = kmemdup(&block, sizeof(block), GFP_KERNEL);
	if (!*sent)
		return -ENOMEM;
	*dma = dma_map_single(dev, *sent, sizeof(block), DMA_TO_DEVICE);
	return dma_mapping_error(dev, *dma);
}

void request_template(u32 version)
{
	template.header[0] = cpu_to_le32(version);
}
MODULE_LICENSE("GPL");
