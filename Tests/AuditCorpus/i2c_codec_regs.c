// SPDX-License-Identifier: GPL-2.0-only
/* A codec's volume registers, in an aligned buffer that is flagged for DMA. */
#include <linux/cache.h>
#include <linux/i2c.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(100);
static u8 volume[32] IN_ORDER ____cacheline_aligned;

int codec_set_volume(struct i2c_client *client, u8 left, u8 right)
{
	struct i2c_msg msg = { .addr = client->addr, .flags = I2C_M_DMA_SAFE, .len = 3, .buf = volume };

	volume[0] = 0x2e;
	volume[1] = left;
	volume[2] = right;
	return i2c_transfer(client->adapter, &msg, 1) == 1 ? 0 : -EIO;
}
MODULE_LICENSE("GPL");
