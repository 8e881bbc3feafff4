// SPDX-License-Identifier: GPL-2.0-only
/* A command from the heap, then a burst into a static array: two transfers of one message. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spi/spi.h>
#include "place.h"

ROOM_IN_BSS(256);
static __be16 burst[2048] IN_ORDER;

int adc_burst(struct spi_device *spi, u8 rate, u16 *peak)
{
	struct spi_transfer xfers[2] = { };
	struct spi_message message;
	u8 *command;
	int i, ret;

	command = kmalloc(4, GFP_KERNEL);
	if (!command)
		return -ENOMEM;
	command[0] = 0xc0 | rate;
	xfers[0].tx_buf = command;
	xfers[0].len = 1;
	xfers[1].rx_buf = burst;
	xfers[1].len = sizeof(burst);
	spi_message_init(&message);
	spi_message_add_tail(&xfers[0], &message);
	spi_message_add_tail(&xfers[1], &message);
	ret = spi_sync(spi, &message);
	for (i = 0, *peak = 0; !ret && i < ARRAY_SIZE(burst); i++)
		*peak = max(*peak, be16_to_cpu(burst[i]));
	kfree(command);
	return ret;
}
MODULE_LICENSE("GPL");
