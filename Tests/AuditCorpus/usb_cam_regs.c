// SPDX-License-Identifier: GPL-2.0-only
/* A camera's start sequence: blocks of registers, written by a helper that trusts its callers. */
#include <linux/module.h>
#include <linux/usb.h>
#include "place.h"

struct cam {
	struct usb_device *udev;
	u8 mode;
};

ROOM_IN_DATA(3600);
static u8 seq_reset[16] IN_ORDER = { 0x80, 0x01 };
static u8 seq_vga[512] IN_ORDER = { 0x11, 0x40, [200] = 0x07, [511] = 0xff };

static noinline int cam_write(struct cam *cam, u16 index, void *regs, u16 count)
{
	int ret = usb_control_msg(cam->udev, usb_sndctrlpipe(cam->udev, 0), 0x0a, USB_DIR_OUT | USB_TYPE_VENDOR,
				  0, index, regs, count, 500);

	return ret < 0 ? ret : ret == count ? 0 : -EIO;
}

int cam_start(struct cam *cam)
{
	int ret = cam_write(cam, 0, seq_reset, sizeof(seq_reset));

	if (ret)
		return ret;
	seq_vga[2] = cam->mode;
	return cam_write(cam, 0x100, seq_vga, sizeof(seq_vga));
}
MODULE_LICENSE("GPL");
