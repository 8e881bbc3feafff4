// SPDX-License-Identifier: GPL-2.0-only
/* The client's address size, and besides a promise that is not kept. */
#include <linux/i2c.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_DATA(4000);
static u8 firmware[256] IN_ORDER = { 0x55, 0xaa };

int touch_update(struct i2c_client *client)
{
	struct i2c_msg msg = {
		.addr = client->addr, .flags = (client->flags & I2C_M_TEN) | I2C_M_DMA_SAFE,
		.len = sizeof(firmware), .buf = firmware,
	};
	int ret = i2c_transfer(client->adapter, &msg, 1);

	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}
MODULE_LICENSE("GPL");
