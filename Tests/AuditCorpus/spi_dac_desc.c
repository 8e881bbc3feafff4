// SPDX-License-Identifier: GPL-2.0-only
/* The transfer's description is static and long-lived; what it points to is allocated. */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spi/spi.h>
#include "place.h"

ROOM_IN_BSS(4032);
static struct spi_transfer dac_transfer IN_ORDER;
static struct spi_message dac_message;

static int dac_probe(struct spi_device *spi)
{
	__be16 *code = devm_kzalloc(&spi->dev, sizeof(*code), GFP_KERNEL);

	if (!code)
		return -ENOMEM;
	dac_transfer.tx_buf = code;
	dac_transfer.len = sizeof(*code);
	spi_message_init_with_transfers(&dac_message, &dac_transfer, 1);
	spi_set_drvdata(spi, code);
	return 0;
}

int dac_set(struct spi_device *spi, u16 value)
{
	__be16 *code = spi_get_drvdata(spi);

	*code = cpu_to_be16(value);
	return spi_sync(spi, &dac_message);
}

static struct spi_driver dac_driver = {
	.driver = { .name = "corpus-dac" },
	.probe = dac_probe,
};
module_spi_driver(dac_driver);
MODULE_LICENSE("GPL");
