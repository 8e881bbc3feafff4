// SPDX-License-Identifier: GPL-2.0-only
/* A knob with one state for the one knob there can be; its reports arrive by an interrupt endpoint. */
#include <linux/module.h>
#include <linux/usb.h>
#include "place.h"

ROOM_IN_BSS(3968);
static struct {
	struct urb *urb;
	int position;
	char phys[96];
	u8 report[64];
} knob IN_ORDER;

static void knob_report(struct urb *urb)
{
	if (!urb->status && urb->actual_length >= 2)
		WRITE_ONCE(knob.position, knob.position + (s8)knob.report[1]);
	usb_submit_urb(urb, GFP_ATOMIC);
}

int knob_start(struct usb_device *udev, const struct usb_endpoint_descriptor *in)
{
	if (usb_endpoint_maxp(in) != sizeof(knob.report))
		return -ENODEV;
	knob.urb = usb_alloc_urb(0, GFP_KERNEL);
	if (!knob.urb)
		return -ENOMEM;
	usb_make_path(udev, knob.phys, sizeof(knob.phys));
	usb_fill_int_urb(knob.urb, udev, usb_rcvintpipe(udev, in->bEndpointAddress), knob.report,
			 sizeof(knob.report), knob_report, NULL, in->bInterval);
	return usb_submit_urb(knob.urb, GFP_KERNEL);
}
MODULE_LICENSE("GPL");
