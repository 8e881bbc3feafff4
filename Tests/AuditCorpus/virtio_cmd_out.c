// SPDX-License-Identifier: GPL-2.0-only
/* Sends a command to the host from a static structure. */
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include "place.h"

ROOM_IN_DATA(4056);
static struct {
	__virtio32 type;
	__virtio32 flags;
	u8 payload[72];
} command IN_ORDER = { .payload = { 1 } };

int host_command(struct virtio_device *vdev, struct virtqueue *vq, u32 type)
{
	struct scatterlist sg;
	int ret;

	command.type = cpu_to_virtio32(vdev, type);
	sg_init_one(&sg, &command, sizeof(command));
	ret = virtqueue_add_outbuf(vq, &sg, 1, &command, GFP_KERNEL);
	if (!ret)
		virtqueue_kick(vq);
	return ret;
}
MODULE_LICENSE("GPL");
