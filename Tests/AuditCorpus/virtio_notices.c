// SPDX-License-Identifier: GPL-2.0-only
/* Posts all notice buffers: small, a power of two, and aligned to their size. */
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include "place.h"

struct notice {
	__virtio32 kind, value;
	u8 text[120];
} __aligned(128);

static u8 room[256] ROOM;
static struct notice notices[96] IN_ORDER;

int post_notices(struct virtqueue *vq)
{
	struct scatterlist sg;
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(notices); i++) {
		sg_init_one(&sg, &notices[i], sizeof(notices[i]));
		ret = virtqueue_add_inbuf(vq, &sg, 1, &notices[i], GFP_KERNEL);
		if (ret)
			return ret;
	}
	virtqueue_kick(vq);
	return 0;
}
MODULE_LICENSE("GPL");
