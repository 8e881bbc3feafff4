// SPDX-License-Identifier: GPL-2.0-only
/* Two presets, side by side; which one is sent depends on the band. */
#include <linux/module.h>
#include <linux/usb.h>
#include "place.h"

ROOM_IN_DATA(1000);
static u8 preset_fm[24] IN_ORDER = { 0x01, 0x10, 0x20 };
static u8 preset_am[24] IN_ORDER = { 0x02, 0x11, 0x21 };
static u8 names[4096] IN_ORDER = "FM\0AM";

const u8 *radio_names(void)
{
	return names;
}

int radio_preset(struct usb_device *udev, bool fm, u8 volume)
{
	u8 *preset = fm ? preset_fm : preset_am;

	preset[3] = volume;
	return usb_control_msg(udev, usb_sndctrlpipe(udev, 0), 0x52, USB_DIR_OUT | USB_TYPE_VENDOR, fm, 0, preset, 24, 1000);
}
MODULE_LICENSE("GPL");
