// SPDX-License-Identifier: GPL-2.0-only
/* A knob whose state is long, but whose report comes first in it. */
#include <linux/module.h>
#include <linux/usb.h>
#include "place.h"

#define HISTORY 64

ROOM_IN_BSS(3840);
static struct knob {
	u8 report[16];
	struct urb *urb;
	unsigned int next;
	struct {
		u64 when;
		s8 turn;
	} history[HISTORY];
} knob IN_ORDER;

static void knob_report(struct urb *urb)
{
	struct knob *k = urb->context;

	if (urb->status)
		return;
	k->history[k->next % HISTORY].turn = k->report[1];
	k->history[k->next++ % HISTORY].when = ktime_get_ns();
	usb_submit_urb(urb, GFP_ATOMIC);
}

int knob_start(struct usb_device *udev, unsigned int pipe, int interval)
{
	struct knob *k = &knob;

	k->urb = usb_alloc_urb(0, GFP_KERNEL);
	if (!k->urb)
		return -ENOMEM;
	usb_fill_int_urb(k->urb, udev, pipe, k->report, sizeof(k->report), knob_report, k, interval);
	return usb_submit_urb(k->urb, GFP_KERNEL);
}
MODULE_LICENSE("GPL");
