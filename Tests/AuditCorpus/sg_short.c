// SPDX-License-Identifier: GPL-2.0-only
/* The list's entry is shorter than the object: of the record only its key is sent. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_DATA(3968);
static struct record {
	u8 key[96];
	u64 uses;
	char owner[128];
} record IN_ORDER = { .key = { 0x30 }, .owner = "nobody" };

int record_send(struct device *dev, const char *owner, void (*send)(struct scatterlist *sg))
{
	struct scatterlist sg;

	record.uses++;
	strscpy(record.owner, owner, sizeof(record.owner));
	sg_init_one(&sg, &record, offsetof(struct record, uses));
	if (!dma_map_sg(dev, &sg, 1, DMA_TO_DEVICE))
		return -EIO;
	send(&sg);
	dma_unmap_sg(dev, &sg, 1, DMA_TO_DEVICE);
	return 0;
}
MODULE_LICENSE("GPL");
