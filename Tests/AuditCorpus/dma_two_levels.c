// SPDX-License-Identifier: GPL-2.0-only
/* Two functions lie between the object and where it is mapped. */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "place.h"

struct engine {
	struct device *dev;
	void (*kick)(dma_addr_t dma);
};

static noinline int engine_map(struct engine *engine, void *data, size_t bytes)
{
	dma_addr_t dma = dma_map_single(engine->dev, data, bytes, DMA_TO_DEVICE);

	if (dma_mapping_error(engine->dev, dma))
		return -ENOMEM;
	engine->kick(dma);
	return 0;
}

static noinline int engine_program(struct engine *engine, u32 *program, unsigned int words)
{
	program[words - 1] = 0xffffffff;
	return engine_map(engine, program, words * sizeof(*program));
}

ROOM_IN_DATA(4044);
static u32 fill_program[20] IN_ORDER = { 0x10, 0x20, 0x30 };
static u32 copy_program[20] IN_ORDER = { 0x11, 0x21, 0x31 };

int engine_fill(struct engine *engine, u32 colour)
{
	fill_program[1] = colour;
	return engine_program(engine, fill_program, ARRAY_SIZE(fill_program));
}

int engine_copy(struct engine *engine, u32 from, u32 to)
{
	copy_program[1] = from;
	copy_program[2] = to;
	return engine_program(engine, copy_program, ARRAY_SIZE(copy_program));
}
MODULE_LICENSE("GPL");
