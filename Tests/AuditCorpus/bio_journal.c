// SPDX-License-Identifier: GPL-2.0-only
/* Writes a static journal, adding it to the bio page after page. */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/module.h>
#include "place.h"

ROOM_IN_BSS(1024);
static u8 journal[3 * PAGE_SIZE] IN_ORDER;

int journal_write(struct block_device *bdev, sector_t sector)
{
	struct bio *bio = bio_alloc(bdev, 4, REQ_OP_WRITE, GFP_NOIO);
	unsigned int left = sizeof(journal);
	u8 *at = journal;
	int ret = -EIO;

	bio->bi_iter.bi_sector = sector;
	while (left) {
		unsigned int part = min_t(unsigned int, left, PAGE_SIZE - offset_in_page(at));

		if (bio_add_page(bio, virt_to_page(at), part, offset_in_page(at)) != part)
			goto out;
		at += part;
		left -= part;
	}
	ret = submit_bio_wait(bio);
out:
	bio_put(bio);
	return ret;
}
MODULE_LICENSE("GPL");
