// SPDX-License-Identifier: GPL-2.0-only
/* Asks the page tables where a small object is. */
#include <linux/io.h>
#include <linux/module.h>
#include <asm/pgtable_types.h>
#include "place.h"

ROOM_IN_DATA(1536);
static u32 semaphore[8] IN_ORDER = { 1 };

void semaphore_share(void __iomem *regs)
{
	phys_addr_t phys = slow_virt_to_phys(semaphore);

	semaphore[0]++;
	writeq(phys, regs + 0x40);
}
MODULE_LICENSE("GPL");
