// SPDX-License-Identifier: GPL-2.0-only
/* Of two messages only the first one goes out, and nobody has promised anything of its buffer. */
#include <linux/i2c.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_DATA(4088);
static u8 setup[12] IN_ORDER = { 3, 0 };
ROOM_IN_BSS(4000);
static u8 state[200] IN_ORDER;

int expander_setup(struct i2c_client *client)
{
	struct i2c_msg msgs[] = {
		{ .addr = client->addr, .len = sizeof(setup), .buf = setup },
		{ .addr = client->addr, .flags = I2C_M_RD | I2C_M_DMA_SAFE, .len = sizeof(state), .buf = state },
	};
	int ret = i2c_transfer(client->adapter, msgs, 1);

	return ret == 1 ? state[0] : -EIO;
}
MODULE_LICENSE("GPL");
