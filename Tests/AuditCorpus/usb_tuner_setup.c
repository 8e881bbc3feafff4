// SPDX-License-Identifier: GPL-2.0-only
/* Retunes without waiting: the setup packet is a static one, filled anew each time; there are no data. */
#include <linux/module.h>
#include <linux/usb.h>
#include "place.h"

#define TUNER_SET_CHANNEL 0x40

ROOM_IN_BSS(4092);
static struct usb_ctrlrequest tune_setup IN_ORDER __aligned(4);

static void tuned(struct urb *urb)
{
	if (urb->status)
		dev_warn(&urb->dev->dev, "not tuned: %d\n", urb->status);
}

int tuner_tune(struct usb_device *udev, struct urb *urb, u16 channel)
{
	tune_setup.bRequestType = USB_DIR_OUT | USB_TYPE_VENDOR | USB_RECIP_DEVICE;
	tune_setup.bRequest = TUNER_SET_CHANNEL;
	tune_setup.wValue = cpu_to_le16(channel);
	tune_setup.wIndex = 0;
	tune_setup.wLength = 0;
	usb_fill_control_urb(urb, udev, usb_sndctrlpipe(udev, 0), (unsigned char *)&tune_setup, NULL, 0, tuned, NULL);
	return usb_submit_urb(urb, GFP_ATOMIC);
}
MODULE_LICENSE("GPL");
