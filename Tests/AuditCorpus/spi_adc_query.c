// SPDX-License-Identifier: GPL-2.0-only
/* Short exchanges through the call that uses a buffer of the SPI core's. */
#include <linux/module.h>
#include <linux/spi/spi.h>
#include "place.h"

ROOM_IN_BSS(4094);
static u8 question[3] IN_ORDER;
static u8 answer[6] IN_ORDER;

static u8 padding_before_command[4094] ROOM = { 2 };
static u8 reset_command[5] IN_ORDER = { 0xff, 0xff, 0xff, 0xff, 0xfe };

int adc_query(struct spi_device *spi, u8 reg, u32 *value)
{
	int ret = spi_write_then_read(spi, reset_command, sizeof(reset_command), NULL, 0);

	if (ret)
		return ret;
	question[0] = reg;
	question[1] = ~reg;
	ret = spi_write_then_read(spi, question, sizeof(question), answer, sizeof(answer));
	*value = answer[0] << 16 | answer[1] << 8 | answer[2];
	return ret;
}
MODULE_LICENSE("GPL");
