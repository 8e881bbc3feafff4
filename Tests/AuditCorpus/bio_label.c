// SPDX-License-Identifier: GPL-2.0-only
/* Reads a label into one whole static page. */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/module.h>
#include "place.h"

static char label_page[PAGE_SIZE] IN_ORDER __aligned(PAGE_SIZE);

int label_read(struct block_device *bdev, char *label, size_t size)
{
	struct bio_vec vec;
	struct bio bio;
	int ret;

	bio_init(&bio, bdev, &vec, 1, REQ_OP_READ);
	bio.bi_iter.bi_sector = 1;
	bio_add_page(&bio, virt_to_page(label_page), PAGE_SIZE, 0);
	ret = submit_bio_wait(&bio);
	if (!ret)
		strscpy(label, label_page + 16, size);
	bio_uninit(&bio);
	return ret;
}
MODULE_LICENSE("GPL");
