// SPDX-License-Identifier: GPL-2.0-only
/* Passes on whether the client has a ten-bit address, and no other of its flags: nothing is promised of the buffer. */
#include <linux/i2c.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(4064);
static u8 report[64] IN_ORDER;

int touch_report(struct i2c_client *client, u16 *first)
{
	__le16 command = cpu_to_le16(0x0316);
	struct i2c_msg msgs[] = {
		{
			.addr = client->addr, .flags = client->flags & I2C_M_TEN,
			.len = sizeof(command), .buf = (u8 *)&command,
		},
		{
			.addr = client->addr, .flags = (client->flags & I2C_M_TEN) | I2C_M_RD,
			.len = sizeof(report), .buf = report,
		},
	};
	int ret = i2c_transfer(client->adapter, msgs, ARRAY_SIZE(msgs));

	if (ret != ARRAY_SIZE(msgs))
		return ret < 0 ? ret : -EIO;
	*first = report[0] | report[1] << 8;
	return 0;
}
MODULE_LICENSE("GPL");
