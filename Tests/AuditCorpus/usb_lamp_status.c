// SPDX-License-Identifier: GPL-2.0-only
/* Reads a lamp's status into a buffer that all lamps share, under a lock. */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/usb.h>
#include "place.h"

#define LAMP_GET_STATUS 0x22

static DEFINE_MUTEX(status_lock);
ROOM_IN_BSS(512);
static struct {
	__le16 colour[3];
	__le16 current_ma;
	u8 faults;
	u8 reserved[7];
} __packed lamp_status IN_ORDER;

int lamp_current(struct usb_device *udev, unsigned int *ma)
{
	int ret;

	mutex_lock(&status_lock);
	ret = usb_control_msg(udev, usb_rcvctrlpipe(udev, 0), LAMP_GET_STATUS, USB_DIR_IN | USB_TYPE_VENDOR,
			      0, 0, &lamp_status, sizeof(lamp_status), 500);
	if (ret == sizeof(lamp_status) && !lamp_status.faults) {
		*ma = le16_to_cpu(lamp_status.current_ma);
		ret = 0;
	} else if (ret >= 0) {
		ret = -EIO;
	}
	mutex_unlock(&status_lock);
	return ret;
}
MODULE_LICENSE("GPL");
