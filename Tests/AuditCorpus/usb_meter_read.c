// SPDX-License-Identifier: GPL-2.0-only
// build: -Os
/* An energy meter whose readings come in bursts of nine packets. */
#include <linux/module.h>
#include <linux/usb.h>
#include "place.h"

struct meter {
	struct usb_device *udev;
	u8 endpoint;
	u64 total;
};

ROOM_IN_BSS(64);
static u8 burst[9 * 512] IN_ORDER;

int meter_update(struct meter *meter)
{
	int got, ret, i;

	ret = usb_bulk_msg(meter->udev, usb_rcvbulkpipe(meter->udev, meter->endpoint), burst, sizeof(burst), &got, 2000);
	if (ret)
		return ret;
	for (i = 0; i + 4 <= got; i += 4)
		meter->total += le32_to_cpup((__le32 *)(burst + i));
	return 0;
}
MODULE_LICENSE("GPL");
