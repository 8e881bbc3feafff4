// SPDX-License-Identifier: GPL-2.0-only
/* Asks the page tables where an object begins and takes the rest for granted. */
#include <linux/io.h>
#include <linux/module.h>
#include <asm/pgtable_types.h>
#include "place.h"

ROOM_IN_DATA(3500);
static u32 matrix[32][32] IN_ORDER = { { 1 }, { 0, 1 } };

void matrix_share(void __iomem *regs, u32 scale)
{
	int i;

	for (i = 0; i < 32; i++)
		matrix[i][i] = scale;
	writeq(slow_virt_to_phys(matrix), regs + 0x40);
	writel(sizeof(matrix), regs + 0x48);
}
MODULE_LICENSE("GPL");
