// SPDX-License-Identifier: GPL-2.0-only
/* Reads all channels of a converter in one full-duplex transfer. */
#include <linux/module.h>
#include <linux/spi/spi.h>
#include "place.h"

#define CHANNELS 16

ROOM_IN_BSS(4032);
static struct {
	u32 scans;
	u16 last[CHANNELS];
	__be16 command[CHANNELS];
	__be16 sample[CHANNELS];
} frame IN_ORDER;

int adc_scan(struct spi_device *spi, u16 *out)
{
	struct spi_transfer xfer = {
		.tx_buf = frame.command,
		.rx_buf = frame.sample,
		.len = sizeof(frame.command),
	};
	struct spi_message message;
	int i, ret;

	frame.scans++;
	for (i = 0; i < CHANNELS; i++)
		frame.command[i] = cpu_to_be16(0x8000 | i << 10);
	spi_message_init_with_transfers(&message, &xfer, 1);
	ret = spi_sync(spi, &message);
	for (i = 0; !ret && i < CHANNELS; i++)
		out[i] = frame.last[i] = be16_to_cpu(frame.sample[i]) >> 4;
	return ret;
}
MODULE_LICENSE("GPL");
