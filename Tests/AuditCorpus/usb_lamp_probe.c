// SPDX-License-Identifier: GPL-2.0-only
/* A USB lamp that wants its colour curve once, when it is plugged in. */
#include <linux/module.h>
#include <linux/usb.h>
#include "place.h"

#define LAMP_SET_CURVE 0x21

ROOM_IN_DATA(4080);
static u8 lamp_curve[32] IN_ORDER __aligned(16) = {
	0, 1, 2, 4, 6, 9, 12, 16, 20, 25, 30, 36, 42, 49, 56, 64,
	72, 81, 90, 100, 110, 121, 132, 144, 156, 169, 182, 196, 210, 225, 240, 255,
};

static int lamp_probe(struct usb_interface *intf, const struct usb_device_id *id)
{
	struct usb_device *udev = interface_to_usbdev(intf);
	int ret;

	if (id->driver_info)
		lamp_curve[0] = id->driver_info;
	ret = usb_control_msg(udev, usb_sndctrlpipe(udev, 0), LAMP_SET_CURVE, USB_DIR_OUT | USB_TYPE_VENDOR,
			      0, 0, lamp_curve, sizeof(lamp_curve), 1000);
	return ret < 0 ? ret : 0;
}

static void lamp_disconnect(struct usb_interface *intf)
{
}

static const struct usb_device_id lamp_ids[] = {
	{ USB_DEVICE(0x1209, 0x0a01), .driver_info = 3 },
	{ }
};
MODULE_DEVICE_TABLE(usb, lamp_ids);

static struct usb_driver lamp_driver = {
	.name = "lamp",
	.probe = lamp_probe,
	.disconnect = lamp_disconnect,
	.id_table = lamp_ids,
};
module_usb_driver(lamp_driver);
MODULE_LICENSE("GPL");
