// SPDX-License-Identifier: GPL-2.0-only
/* The token of a buffer is a static structure that only the driver looks at; the buffer is allocated. */
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include "place.h"

ROOM_IN_BSS(4040);
static struct {
	void *page;
	u64 posted, taken;
	char label[80];
} token IN_ORDER;

int post_page(struct virtqueue *vq)
{
	struct scatterlist sg;

	token.page = kmalloc(512, GFP_KERNEL);
	if (!token.page)
		return -ENOMEM;
	token.posted++;
	snprintf(token.label, sizeof(token.label), "%s.%llu", vq->name, token.posted);
	sg_init_one(&sg, token.page, 512);
	return virtqueue_add_inbuf(vq, &sg, 1, &token, GFP_KERNEL);
}

void take_page(struct virtqueue *vq)
{
	unsigned int length;
	typeof(token) *taken = virtqueue_get_buf(vq, &length);

	if (taken) {
		taken->taken += length;
		kfree(taken->page);
	}
}
MODULE_LICENSE("GPL");
