// SPDX-License-Identifier: GPL-2.0-only
/* Copies a font into a device's memory: the CPU reads the static object. */
#include <linux/io.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_RODATA(3333);
static const u8 font[128][16] IN_ORDER = { ['A'] = { 0x10, 0x38, 0x6c, 0xc6 }, ['B'] = { 0xfc, 0x66 } };

void font_load(void __iomem *vram)
{
	memcpy_toio(vram + 0x8000, font, sizeof(font));
}
MODULE_LICENSE("GPL");
