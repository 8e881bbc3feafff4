// SPDX-License-Identifier: GPL-2.0-only
/* The 43rd block of a pool is set apart for resets, and it lies badly. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

#define RESET_SLOT 42

struct command {
	__le32 opcode, tag;
	u8 arguments[88];
};

static struct command commands[64] IN_ORDER __aligned(4096) = { [RESET_SLOT] = { .opcode = cpu_to_le32(0xff) } };

int command_reset(struct device *dev, void (*ring)(dma_addr_t dma))
{
	struct command *reset = commands + RESET_SLOT;
	dma_addr_t dma;

	reset->tag = cpu_to_le32(RESET_SLOT);
	dma = dma_map_single(dev, reset, sizeof(*reset), DMA_TO_DEVICE);
	if (dma_mapping_error(dev, dma))
		return -ENOMEM;
	ring(dma);
	return 0;
}
MODULE_LICENSE("GPL");
