// SPDX-License-Identifier: GPL-2.0-only
/* Promises the I2C core that a static page image may be mapped for DMA. */
#include <linux/i2c.h>
#include <linux/module.h>
#include "place.h"

#define EEPROM_PAGE 256

ROOM_IN_DATA(4000);
static u8 page_image[1 + EEPROM_PAGE] IN_ORDER = { 0, 0x5a, 0xa5 };

int eeprom_write_page(struct i2c_client *client, u8 page, u8 fill)
{
	struct i2c_msg msg = {
		.addr = client->addr,
		.flags = I2C_M_DMA_SAFE,
		.len = sizeof(page_image),
		.buf = page_image,
	};
	int ret;

	page_image[0] = page;
	memset(page_image + 3, fill, EEPROM_PAGE - 2);
	ret = i2c_transfer(client->adapter, &msg, 1);
	return ret < 0 ? ret : ret == 1 ? 0 : -EIO;
}
MODULE_LICENSE("GPL");
