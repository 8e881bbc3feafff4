// SPDX-License-Identifier: GPL-2.0-only
/* The same pool, but only its first eight blocks are for the device; the rest is a log. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

struct command {
	__le32 opcode, tag;
	u8 arguments[88];
};

static struct command commands[64] IN_ORDER __aligned(4096);
static unsigned int next;

dma_addr_t command_issue(struct device *dev, u32 opcode)
{
	unsigned int slot = next++ & 7;

	commands[slot].opcode = cpu_to_le32(opcode);
	commands[8 + next % 56] = commands[slot];
	return dma_map_single(dev, &commands[slot], sizeof(commands[slot]), DMA_TO_DEVICE);
}
MODULE_LICENSE("GPL");
