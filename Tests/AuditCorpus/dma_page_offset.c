// SPDX-License-Identifier: GPL-2.0-only
/* Maps by page and offset, but as one piece. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_DATA(2000);
static __le16 waveform[1500] IN_ORDER = { cpu_to_le16(1), cpu_to_le16(3) };

dma_addr_t waveform_map(struct device *dev, u16 amplitude)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(waveform); i++)
		waveform[i] = cpu_to_le16(le16_to_cpu(waveform[i]) * amplitude);
	return dma_map_page(dev, virt_to_page(waveform), offset_in_page(waveform), sizeof(waveform), DMA_TO_DEVICE);
}
MODULE_LICENSE("GPL");
