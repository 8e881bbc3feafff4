// SPDX-License-Identifier: GPL-2.0-only
/* A mailbox of one cache line. */
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(960);
static struct {
	__le32 word[16];
} mailbox IN_ORDER __aligned(64);

int mailbox_post(struct device *dev, void __iomem *regs, u32 command)
{
	dma_addr_t dma;

	mailbox.word[0] = cpu_to_le32(command);
	mailbox.word[15] = cpu_to_le32(~command);
	dma = dma_map_single(dev, &mailbox, sizeof(mailbox), DMA_TO_DEVICE);
	if (dma_mapping_error(dev, dma))
		return -EIO;
	writel(lower_32_bits(dma), regs + 0x10);
	writel(upper_32_bits(dma), regs + 0x14);
	while (readl(regs + 0x18) & 1)
		cpu_relax();
	dma_unmap_single(dev, dma, sizeof(mailbox), DMA_TO_DEVICE);
	return 0;
}
MODULE_LICENSE("GPL");
