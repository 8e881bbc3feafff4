// SPDX-License-Identifier: GPL-2.0-only
/* A frame in static memory of which the device only takes the header. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

#define HEADER_BYTES 64

ROOM_IN_DATA(4000);
static u8 frame[256] IN_ORDER = { 0x45, 0x00, [255] = 0x55 };

int frame_send_header(struct device *dev, void (*start)(dma_addr_t, size_t), u8 tos)
{
	dma_addr_t dma;
	int i;

	frame[1] = tos;
	for (i = HEADER_BYTES; i < sizeof(frame); i++)
		frame[i] ^= tos;
	dma = dma_map_single(dev, frame, HEADER_BYTES, DMA_TO_DEVICE);
	if (dma_mapping_error(dev, dma))
		return -ENOMEM;
	start(dma, HEADER_BYTES);
	dma_unmap_single(dev, dma, HEADER_BYTES, DMA_TO_DEVICE);
	return 0;
}
MODULE_LICENSE("GPL");
