// SPDX-License-Identifier: GPL-2.0-only
/* Read from, or written with a message in front; neither promises anything of the buffer. */
#include <linux/i2c.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(4032);
static u8 block[160] IN_ORDER;

int flash_move(struct i2c_client *client, u8 *command, u16 bytes, bool read)
{
	struct i2c_msg msgs[2] = {};
	int count;

	if (read) {
		msgs[0].flags = I2C_M_RD;
		msgs[0].addr = client->addr;
		msgs[0].len = sizeof(block);
		msgs[0].buf = block;
		count = 1;
	} else {
		msgs[0].addr = client->addr;
		msgs[0].len = bytes;
		msgs[0].buf = command;
		msgs[1].addr = client->addr;
		msgs[1].flags = I2C_M_NOSTART;
		msgs[1].len = sizeof(block);
		msgs[1].buf = block;
		count = 2;
	}
	return i2c_transfer(client->adapter, msgs, count) == count ? block[0] : -EIO;
}
MODULE_LICENSE("GPL");
