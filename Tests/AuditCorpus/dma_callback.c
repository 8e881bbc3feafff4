// SPDX-License-Identifier: GPL-2.0-only
/* The transport is an operation that is called through a pointer. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

struct transport {
	int (*send)(struct device *dev, void *data, size_t bytes);
};

static dma_addr_t in_flight;

static int dma_send(struct device *dev, void *data, size_t bytes)
{
	in_flight = dma_map_single(dev, data, bytes, DMA_TO_DEVICE);
	return dma_mapping_error(dev, in_flight);
}

static int null_send(struct device *dev, void *data, size_t bytes)
{
	return 0;
}

static const struct transport transports[] = { { null_send }, { dma_send } };

ROOM_IN_DATA(4070);
static u8 hello[40] IN_ORDER __aligned(2) = "hello, device";

int transport_hello(struct device *dev, unsigned int which)
{
	return transports[which & 1].send(dev, hello, sizeof(hello));
}
MODULE_LICENSE("GPL");
