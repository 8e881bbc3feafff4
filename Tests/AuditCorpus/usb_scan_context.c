// SPDX-License-Identifier: GPL-2.0-only
/* A scanner: the completion handler is handed a static context, the device a buffer of the heap. */
#include <linux/completion.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/usb.h>
#include "place.h"

#define LINE_BYTES 2560

ROOM_IN_BSS(3900);
static struct scan {
	struct completion done;
	int status;
	unsigned int lines;
	char name[256];
} scan IN_ORDER;

static void scan_line(struct urb *urb)
{
	struct scan *s = urb->context;

	s->status = urb->status;
	s->lines++;
	complete(&s->done);
}

int scan_one_line(struct usb_device *udev, unsigned int pipe, void (*sink)(const u8 *line, size_t bytes))
{
	struct urb *urb = usb_alloc_urb(0, GFP_KERNEL);
	u8 *line = kmalloc(LINE_BYTES, GFP_KERNEL);
	int ret = -ENOMEM;

	if (!urb || !line)
		goto out;
	init_completion(&scan.done);
	usb_fill_bulk_urb(urb, udev, pipe, line, LINE_BYTES, scan_line, &scan);
	ret = usb_submit_urb(urb, GFP_KERNEL);
	if (ret)
		goto out;
	wait_for_completion(&scan.done);
	ret = scan.status;
	if (!ret)
		sink(line, urb->actual_length);
out:
	kfree(line);
	usb_free_urb(urb);
	return ret;
}
MODULE_LICENSE("GPL");
