// SPDX-License-Identifier: GPL-2.0-only
/* Pushes a static program through a register, word by word. */
#include <linux/io.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_DATA(4064);
static u32 program[48] IN_ORDER = { 0x00000013, 0x00100073 };

void program_push(void __iomem *fifo, u32 entry)
{
	program[47] = entry;
	iowrite32_rep(fifo, program, ARRAY_SIZE(program));
}
MODULE_LICENSE("GPL");
