// SPDX-License-Identifier: GPL-2.0-only
/* Header and body, a list of two, both static. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include "place.h"

ROOM_IN_BSS(3072);
static __le32 header[4] IN_ORDER;
static u8 body[1500] IN_ORDER;

int packet_send(struct device *dev, const void *data, u32 bytes, int (*send)(struct scatterlist *sgl, int count))
{
	struct scatterlist sgl[2];
	int count, ret;

	if (bytes > sizeof(body))
		return -EMSGSIZE;
	header[0] = cpu_to_le32(0x50414b54);
	header[1] = cpu_to_le32(bytes);
	memcpy(body, data, bytes);
	sg_init_table(sgl, 2);
	sg_set_buf(&sgl[0], header, sizeof(header));
	sg_set_buf(&sgl[1], body, sizeof(body));
	count = dma_map_sg(dev, sgl, 2, DMA_TO_DEVICE);
	if (!count)
		return -EIO;
	ret = send(sgl, count);
	dma_unmap_sg(dev, sgl, 2, DMA_TO_DEVICE);
	return ret;
}
MODULE_LICENSE("GPL");
