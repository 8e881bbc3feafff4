// SPDX-License-Identifier: GPL-2.0-only
/* A heap buffer is mapped, after a static table has been used to compute what it ends with. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "place.h"

ROOM_IN_DATA(3700);
static u16 table[256] IN_ORDER = { 0x0000, 0x1021, 0x2042, 0x3063 };

dma_addr_t checked_map(struct device *dev, unsigned int bytes, u8 **buffer)
{
	u16 crc = 0xffff;
	unsigned int i;

	*buffer = kzalloc(bytes + 2, GFP_KERNEL);
	if (!*buffer)
		return DMA_MAPPING_ERROR;
	for (i = 0; i < bytes; i++)
		crc = crc << 8 ^ table[(crc >> 8 ^ (*buffer)[i]) & 0xff];
	table[255] = crc;
	memcpy(*buffer + bytes, &table[255], 2);
	return dma_map_single(dev, *buffer, bytes + 2, DMA_TO_DEVICE);
}
MODULE_LICENSE("GPL");
