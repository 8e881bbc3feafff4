// SPDX-License-Identifier: GPL-2.0-only
/* Promises nothing, so an adapter that does DMA uses a buffer of the core's. */
#include <linux/i2c.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(4064);
static u8 contents[128] IN_ORDER;

int eeprom_sum(struct i2c_client *client, u8 *sum)
{
	u8 offset = 0;
	struct i2c_msg msgs[] = {
		{ .addr = client->addr, .len = 1, .buf = &offset },
		{ .addr = client->addr, .flags = I2C_M_RD, .len = sizeof(contents), .buf = contents },
	};
	int i, ret = i2c_transfer(client->adapter, msgs, ARRAY_SIZE(msgs));

	if (ret != ARRAY_SIZE(msgs))
		return ret < 0 ? ret : -EIO;
	for (i = 0, *sum = 0; i < sizeof(contents); i++)
		*sum += contents[i];
	return 0;
}
MODULE_LICENSE("GPL");
