// SPDX-License-Identifier: GPL-2.0-only
// build: -O3
/* A register address, then the FIFO behind it; both messages are flagged for DMA, only one is where it should not be. */
#include <linux/i2c.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(3990);
static u8 fifo_register IN_ORDER;
static u8 gap[9] IN_ORDER __used;
static u8 fifo[192] IN_ORDER;

int sensor_drain(struct i2c_client *client, s16 *mean)
{
	struct i2c_msg msgs[2];
	int i, ret;
	s32 sum = 0;

	fifo_register = 0x7f;
	msgs[0].addr = client->addr;
	msgs[0].flags = I2C_M_DMA_SAFE;
	msgs[0].len = 1;
	msgs[0].buf = &fifo_register;
	msgs[1] = msgs[0];
	msgs[1].flags |= I2C_M_RD;
	msgs[1].len = sizeof(fifo);
	msgs[1].buf = fifo;
	ret = i2c_transfer(client->adapter, msgs, 2);
	if (ret != 2)
		return -EIO;
	for (i = 0; i < sizeof(fifo); i += 2)
		sum += (s16)(fifo[i] << 8 | fifo[i + 1]);
	*mean = sum / (int)(sizeof(fifo) / 2);
	return 0;
}
MODULE_LICENSE("GPL");
