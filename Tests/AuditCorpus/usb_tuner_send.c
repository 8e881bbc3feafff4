// SPDX-License-Identifier: GPL-2.0-only
/* Sends band limits by the call that takes its data from anywhere, as it copies them. */
#include <linux/module.h>
#include <linux/usb.h>
#include "place.h"

ROOM_IN_DATA(4090);
static struct {
	__le32 low, high;
	__le16 step;
} __packed band IN_ORDER __aligned(2) = {
	cpu_to_le32(87500000), cpu_to_le32(108000000), cpu_to_le16(10000),
};

int tuner_set_band(struct usb_device *udev, u32 low, u32 high)
{
	if (low >= high)
		return -ERANGE;
	band.low = cpu_to_le32(low);
	band.high = cpu_to_le32(high);
	return usb_control_msg_send(udev, 0, 0x41, USB_DIR_OUT | USB_TYPE_VENDOR, 0, 0, &band, sizeof(band), 500,
				    GFP_KERNEL);
}
MODULE_LICENSE("GPL");
