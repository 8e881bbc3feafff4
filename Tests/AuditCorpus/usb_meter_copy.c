// SPDX-License-Identifier: GPL-2.0-only
/* The meter's calibration table lies in rodata; what is sent is a copy on the heap. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/usb.h>
#include "place.h"

ROOM_IN_RODATA(4000);
static const __le32 calibration[64] IN_ORDER = {
	[0] = cpu_to_le32(0x43414c31), [1] = cpu_to_le32(1000), [17] = cpu_to_le32(998), [40] = cpu_to_le32(1003),
};

int meter_calibrate(struct usb_device *udev, unsigned int pipe)
{
	void *copy = kmemdup(calibration, sizeof(calibration), GFP_KERNEL);
	int sent, ret;

	if (!copy)
		return -ENOMEM;
	ret = usb_bulk_msg(udev, pipe, copy, sizeof(calibration), &sent, 1000);
	if (!ret && sent != sizeof(calibration))
		ret = -EIO;
	kfree(copy);
	return ret;
}
MODULE_LICENSE("GPL");
