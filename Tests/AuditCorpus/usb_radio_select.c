// SPDX-License-Identifier: GPL-2.0-only
// build: -O3
/* Long texts go through the heap, short ones through a buffer that is always there. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/usb.h>
#include "place.h"

ROOM_IN_BSS(4064);
static char short_text[48] IN_ORDER;

int radio_text(struct usb_device *udev, const char *text)
{
	size_t length = strlen(text), count = max(length, sizeof(short_text));
	char *heap = NULL, *out;
	int ret;

	if (length > sizeof(short_text)) {
		heap = kmalloc(length, GFP_KERNEL);
		if (!heap)
			return -ENOMEM;
	}
	out = heap ? heap : short_text;
	memset(out, ' ', count);
	memcpy(out, text, length);
	ret = usb_control_msg(udev, usb_sndctrlpipe(udev, 0), 0x51, USB_DIR_OUT | USB_TYPE_VENDOR, 0, 0, out, count, 1000);
	kfree(heap);
	return ret < 0 ? ret : 0;
}
MODULE_LICENSE("GPL");
