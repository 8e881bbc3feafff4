// SPDX-License-Identifier: GPL-2.0-only
/* Reads a camera's registers into a local array, as drivers once did. */
#include <linux/module.h>
#include <linux/usb.h>

int cam_ident(struct usb_device *udev, u16 *sensor)
{
	u8 regs[8];
	int ret;

	ret = usb_control_msg(udev, usb_rcvctrlpipe(udev, 0), 0x0b, USB_DIR_IN | USB_TYPE_VENDOR, 0, 0x100,
			      regs, sizeof(regs), 500);
	if (ret < 0)
		return ret;
	if (ret != sizeof(regs))
		return -EIO;
	*sensor = regs[6] << 8 | regs[7];
	return 0;
}
MODULE_LICENSE("GPL");
