// SPDX-License-Identifier: GPL-2.0-only
/* A control request of three parts: header, body, and the status that the host writes. */
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include "place.h"

ROOM_IN_BSS(3800);
static struct {
	u8 class, cmd;
	u8 body[600];
	u8 status;
} control IN_ORDER;

int control_send(struct virtqueue *vq, u8 class, u8 cmd, const void *body, size_t bytes)
{
	struct scatterlist hdr, out, in, *sgs[] = { &hdr, &out, &in };
	unsigned int unused;
	int ret;

	if (bytes > sizeof(control.body))
		return -E2BIG;
	control.class = class;
	control.cmd = cmd;
	control.status = ~0;
	memcpy(control.body, body, bytes);
	memset(control.body + bytes, 0, sizeof(control.body) - bytes);
	sg_init_one(&hdr, &control.class, 2);
	sg_init_one(&out, control.body, sizeof(control.body));
	sg_init_one(&in, &control.status, 1);
	ret = virtqueue_add_sgs(vq, sgs, 2, 1, &control, GFP_ATOMIC);
	if (ret)
		return ret;
	virtqueue_kick(vq);
	while (!virtqueue_get_buf(vq, &unused) && !virtqueue_is_broken(vq))
		cpu_relax();
	return control.status ? -EIO : 0;
}
MODULE_LICENSE("GPL");
