// SPDX-License-Identifier: GPL-2.0-only
/* Static messages hang on a list; whatever hangs there is mapped. */
#include <linux/dma-mapping.h>
#include <linux/list.h>
#include <linux/module.h>
#include "place.h"

struct note {
	struct list_head list;
	dma_addr_t dma;
	u8 text[100];
};

static LIST_HEAD(notes);

ROOM_IN_DATA(4000);
static struct note ready IN_ORDER = { .text = "ready" };
static struct note steady IN_ORDER = { .text = "steady" };

void notes_queue(void)
{
	list_add_tail(&ready.list, &notes);
	list_add_tail(&steady.list, &notes);
}

noinline int notes_flush(struct device *dev)
{
	struct note *note;

	list_for_each_entry(note, &notes, list) {
		note->dma = dma_map_single(dev, note->text, sizeof(note->text), DMA_TO_DEVICE);
		if (dma_mapping_error(dev, note->dma))
			return -ENOMEM;
	}
	return 0;
}
MODULE_LICENSE("GPL");
