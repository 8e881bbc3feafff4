// SPDX-License-Identifier: GPL-2.0-only
/* What to map is decided in one function and mapped in another, from where the first has put it. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "place.h"

struct port {
	struct device *dev;
	void *buffer;
	size_t size;
	dma_addr_t dma;
};

ROOM_IN_BSS(4000);
static u8 console_buffer[512] IN_ORDER;

struct port *port_open(struct device *dev, bool console)
{
	struct port *port = kzalloc(sizeof(*port), GFP_KERNEL);

	if (!port)
		return NULL;
	port->dev = dev;
	port->size = sizeof(console_buffer);
	port->buffer = console ? console_buffer : kmalloc(port->size, GFP_KERNEL);
	return port;
}

noinline int port_start(struct port *port)
{
	if (!port->buffer)
		return -ENOMEM;
	port->dma = dma_map_single(port->dev, port->buffer, port->size, DMA_FROM_DEVICE);
	return dma_mapping_error(port->dev, port->dma);
}
MODULE_LICENSE("GPL");
