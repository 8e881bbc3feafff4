// SPDX-License-Identifier: GPL-2.0-only
/* Two pages of a log, read through the block layer, which takes a buffer page by page. */
#include <linux/blk-mq.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(512);
static u8 log_pages[8192] IN_ORDER __aligned(512);

int read_log(struct request_queue *q, u8 *severity)
{
	struct request *rq = blk_mq_alloc_request(q, REQ_OP_DRV_IN, 0);
	int ret;

	if (IS_ERR(rq))
		return PTR_ERR(rq);
	ret = blk_rq_map_kern(q, rq, log_pages, sizeof(log_pages), GFP_KERNEL);
	if (!ret) {
		ret = blk_status_to_errno(blk_execute_rq(rq, false));
		*severity = log_pages[0] ^ log_pages[8191];
	}
	blk_mq_free_request(rq);
	return ret;
}
MODULE_LICENSE("GPL");
