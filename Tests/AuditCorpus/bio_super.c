// SPDX-License-Identifier: GPL-2.0-only
/* Writes a superblock that lies in static memory. */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_DATA(3584);
static struct super {
	__le32 magic, version;
	__le64 sequence;
	u8 rest[1008];
} super IN_ORDER = { .magic = cpu_to_le32(0x31504b53) };

int super_write(struct block_device *bdev)
{
	struct bio *bio = bio_alloc(bdev, 1, REQ_OP_WRITE | REQ_SYNC | REQ_FUA, GFP_NOIO);
	int ret;

	le64_add_cpu(&super.sequence, 1);
	bio->bi_iter.bi_sector = 8;
	if (bio_add_page(bio, virt_to_page(&super), sizeof(super), offset_in_page(&super)) != sizeof(super)) {
		bio_put(bio);
		return -EIO;
	}
	ret = submit_bio_wait(bio);
	bio_put(bio);
	return ret;
}
MODULE_LICENSE("GPL");
