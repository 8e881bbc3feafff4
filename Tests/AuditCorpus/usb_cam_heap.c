// SPDX-License-Identifier: GPL-2.0-only
/* The same helper with callers that first fill the camera's own buffer, which is on the heap. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/usb.h>
#include "place.h"

struct cam {
	struct usb_device *udev;
	u8 *buffer;
};

ROOM_IN_RODATA(3700);
static const u8 seq_hd[700] IN_ORDER = { 0x11, 0x41, [300] = 0x09, [699] = 0xff };

static noinline int cam_write(struct cam *cam, u16 index, void *regs, u16 count)
{
	int ret = usb_control_msg(cam->udev, usb_sndctrlpipe(cam->udev, 0), 0x0a, USB_DIR_OUT | USB_TYPE_VENDOR,
				  0, index, regs, count, 500);

	return ret < 0 ? ret : 0;
}

int cam_start_hd(struct cam *cam, u8 gain)
{
	int ret;

	cam->buffer = kzalloc(sizeof(seq_hd), GFP_KERNEL);
	if (!cam->buffer)
		return -ENOMEM;
	cam->buffer[0] = gain;
	ret = cam_write(cam, 0x10, cam->buffer, 1);
	if (ret)
		return ret;
	memcpy(cam->buffer, seq_hd, sizeof(seq_hd));
	return cam_write(cam, 0x100, cam->buffer, sizeof(seq_hd));
}
MODULE_LICENSE("GPL");
