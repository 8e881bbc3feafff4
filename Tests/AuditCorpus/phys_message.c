// SPDX-License-Identifier: GPL-2.0-only
/* A physical address that is only shown to people. */
#include <linux/device.h>
#include <linux/io.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(4000);
static u8 scratchpad[500] IN_ORDER;

void scratchpad_describe(struct device *dev)
{
	phys_addr_t phys = virt_to_phys(scratchpad);

	memset(scratchpad, 0x5a, sizeof(scratchpad));
	dev_info(dev, "scratch pad of %zu bytes at %pa\n", sizeof(scratchpad), &phys);
}

u8 scratchpad_byte(unsigned int i)
{
	return scratchpad[i % sizeof(scratchpad)];
}
MODULE_LICENSE("GPL");
