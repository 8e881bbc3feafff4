// SPDX-License-Identifier: GPL-2.0-only
/* Posts all event buffers; each is an element of one static array. */
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include "place.h"

struct event {
	__virtio64 when;
	u8 body[64];
};

static struct event events[64] IN_ORDER __aligned(4096);

int post_events(struct virtqueue *vq)
{
	struct scatterlist sg[1];
	struct event *event;
	int ret;

	for (event = events; event < events + ARRAY_SIZE(events); event++) {
		sg_init_one(sg, event, sizeof(*event));
		ret = virtqueue_add_inbuf(vq, sg, 1, event, GFP_KERNEL);
		if (ret)
			return ret;
	}
	virtqueue_kick(vq);
	return 0;
}
MODULE_LICENSE("GPL");
