// SPDX-License-Identifier: GPL-2.0-only
/* Sends a copy of a static parameter page. */
#include <linux/blk-mq.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "place.h"

ROOM_IN_DATA(3584);
static u8 parameters[1024] IN_ORDER = { 0x0a, 0x1c, [512] = 0x40 };

int send_parameters(struct request_queue *q, u8 page)
{
	u8 *copy = kmalloc(sizeof(parameters), GFP_KERNEL);
	struct request *rq;
	int ret = -ENOMEM;

	if (!copy)
		return ret;
	parameters[2] = page;
	memcpy(copy, parameters, sizeof(parameters));
	rq = blk_mq_alloc_request(q, REQ_OP_DRV_OUT, 0);
	if (IS_ERR(rq)) {
		ret = PTR_ERR(rq);
		goto out;
	}
	ret = blk_rq_map_kern(q, rq, copy, sizeof(parameters), GFP_KERNEL);
	if (!ret)
		ret = blk_status_to_errno(blk_execute_rq(rq, true));
	blk_mq_free_request(rq);
out:
	kfree(copy);
	return ret;
}
MODULE_LICENSE("GPL");
