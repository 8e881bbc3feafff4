// SPDX-License-Identifier: GPL-2.0-only
/* Reads an erase block's first part into a buffer of two whole pages. */
#include <linux/crc32.h>
#include <linux/module.h>
#include <linux/spi/spi.h>
#include "place.h"

static u8 block[2 * PAGE_SIZE] IN_ORDER __aligned(PAGE_SIZE);

int flash_checksum(struct spi_device *spi, u32 *crc)
{
	int ret = spi_read(spi, block, sizeof(block));

	if (!ret)
		*crc = crc32_le(~0, block, sizeof(block));
	return ret;
}
MODULE_LICENSE("GPL");
