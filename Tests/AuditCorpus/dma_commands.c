// SPDX-License-Identifier: GPL-2.0-only
/* A static pool of command blocks, handed out by number. */
#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

#define COMMANDS 64

struct command {
	__le32 opcode, tag;
	u8 arguments[88];
};

static u8 room[32] ROOM;
static struct command commands[COMMANDS] IN_ORDER;
static DECLARE_BITMAP(busy, COMMANDS);

int command_issue(struct device *dev, u32 opcode, dma_addr_t *dma)
{
	unsigned int tag = find_first_zero_bit(busy, COMMANDS);
	struct command *command = &commands[tag];

	if (tag == COMMANDS)
		return -EBUSY;
	__set_bit(tag, busy);
	command->opcode = cpu_to_le32(opcode);
	command->tag = cpu_to_le32(tag);
	*dma = dma_map_single(dev, command, sizeof(*command), DMA_BIDIRECTIONAL);
	return dma_mapping_error(dev, *dma) ? -ENOMEM : tag;
}
MODULE_LICENSE("GPL");
