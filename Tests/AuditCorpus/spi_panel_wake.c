// SPDX-License-Identifier: GPL-2.0-only
// build: -Os
/* Wakes a panel with a short constant sequence. */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/spi/spi.h>
#include "place.h"

ROOM_IN_RODATA(4096);
static const u16 wake[12] IN_ORDER = { 0x0011, 0x0029, 0x013a, 0x0155 };

int panel_wake(struct spi_device *spi)
{
	int ret = spi_write(spi, wake, sizeof(wake));

	if (!ret)
		msleep(120);
	return ret;
}
MODULE_LICENSE("GPL");
