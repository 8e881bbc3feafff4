// SPDX-License-Identifier: GPL-2.0-only

/*
 * What permuted pages do to a device that is given a buffer of the image in one piece.
 * The first virtio disk's first two sectors are read to where one page of a buffer ends
 * and the next begins. Where the frames are neighbours, too, all is well; elsewhere the
 * second sector ends up in somebody else's frame, unless each page is given by itself.
 * The buffer is so large that some of its frames lie before frames of its own, and only
 * there is anything read in the wrong way.
 */

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include "test.h"

#define DISK "/dev/vda"
#define FAR 0xa5

enum { PAGES = 96, BYTES = 1024, BEFORE = 512 };

static u8 buffer[PAGES][PAGE_SIZE] __aligned(PAGE_SIZE);

static int read_sectors(struct block_device *disk, u8 *to, bool page_by_page)
{
	struct bio *bio = bio_alloc(disk, 2, REQ_OP_READ, GFP_KERNEL);
	int error;

	if (page_by_page) {
		__bio_add_page(bio, virt_to_page(to), BEFORE, offset_in_page(to));
		__bio_add_page(bio, virt_to_page(to + BEFORE), BYTES - BEFORE, offset_in_page(to + BEFORE));
	} else {
		__bio_add_page(bio, virt_to_page(to), BYTES, offset_in_page(to));
	}
	error = submit_bio_wait(bio);
	bio_put(bio);
	return error;
}

static u32 count_wrong(const u8 *bytes, const u8 *right, u32 count)
{
	u32 wrong = 0;

	while (count--)
		wrong += *bytes++ != *right++;
	return wrong;
}

/* The page of the buffer that has the frame behind a page's frame, or -1: none, or it is no matter of the buffer. */
static int page_behind(int page)
{
	unsigned long frame = virt_to_pfn(buffer[page]) + 1;
	int other;

	for (other = 0; other < PAGES; other++)
		if (virt_to_pfn(buffer[other]) == frame)
			return other;
	return -1;
}

struct outcome {
	u32 borders, errors, wrong, before, elsewhere, scattered;
};

/* Reads over the border behind a page, and counts what is where it does not belong. */
static void read_over(struct block_device *disk, int page, const u8 *right, bool page_by_page, struct outcome *outcome)
{
	u8 *to = buffer[page + 1] - BEFORE;
	int behind = page_behind(page);

	memset(buffer, FAR, sizeof(buffer));
	outcome->borders++;
	outcome->errors += read_sectors(disk, to, page_by_page) != 0;
	outcome->before += count_wrong(to, right, BEFORE);
	outcome->wrong += count_wrong(to, right, BYTES);
	if (behind >= 0 && behind != page + 1)
		outcome->elsewhere += !memcmp(buffer[behind], right + BEFORE, BYTES - BEFORE);
}

/* The same without a device: a scatterlist of one entry takes frames for neighbours, too. */
static u32 count_scattered(int page, const u8 *right, u8 *copy)
{
	struct scatterlist list;
	u8 *from = buffer[page + 1] - BEFORE;

	memset(buffer, FAR, sizeof(buffer));
	memcpy(from, right, BYTES);
	sg_init_one(&list, from, BYTES);
	sg_copy_to_buffer(&list, 1, copy, BYTES);
	return count_wrong(copy, right, BYTES);
}

static bool say(struct seq_file *out, const char *what, const struct outcome *outcome, bool good)
{
	seq_printf(out, "dma: %s borders=%u errors=%u wrong=%u wrong-before=%u sectors-elsewhere=%u %s\n", what,
		   outcome->borders, outcome->errors, outcome->wrong, outcome->before, outcome->elsewhere,
		   good ? "passed" : "failed");
	return good;
}

static bool test(struct seq_file *out, struct block_device *disk, u8 *right)
{
	struct outcome neighbours = {}, single = {}, each = {};
	u32 scattered = 0, sound = 0, page;
	bool good;

	/* two pages of the linear map, in one piece; what one page takes is held against it */
	if (read_sectors(disk, right + PAGE_SIZE - BEFORE, false) || read_sectors(disk, right, true))
		return false;
	good = !count_wrong(right + PAGE_SIZE - BEFORE, right, BYTES);
	seq_printf(out, "dma: linear-map one-segment %s\n", good ? "passed" : "failed");
	for (page = 0; page + 1 < PAGES; page++) {
		int behind = page_behind(page);
		u32 wrong;

		read_over(disk, page, right, true, &each);
		if (behind == page + 1)
			read_over(disk, page, right, false, &neighbours);
		else if (behind >= 0)
			read_over(disk, page, right, false, &single);
		wrong = count_scattered(page, right, right + BYTES);
		scattered += behind != page + 1 && wrong;
		sound += behind == page + 1 && !wrong;
	}
	good &= say(out, "neighbours one-segment", &neighbours, !neighbours.errors && !neighbours.wrong);
	good &= say(out, "permuted one-segment", &single,
		    !single.errors && !single.before && single.elsewhere == single.borders &&
			    single.wrong >= single.borders * (BYTES - BEFORE) * 9 / 10);
	good &= say(out, "any segment-a-page", &each, !each.errors && !each.wrong);
	seq_printf(out, "dma: scatterlist permuted-wrong=%u of %u neighbours-right=%u of %u %s\n", scattered,
		   each.borders - neighbours.borders, sound, neighbours.borders,
		   scattered == each.borders - neighbours.borders && sound == neighbours.borders ? "passed" : "failed");
	good &= scattered == each.borders - neighbours.borders && sound == neighbours.borders;
	if (!single.borders && neighbours.borders + 1 < PAGES)
		seq_puts(out, "dma: in this order none of the buffer's frames lies before another one: not shown wrong\n");
	return good;
}

bool kperm_test_dma(struct seq_file *out)
{
	struct block_device *disk = blkdev_get_by_path(DISK, FMODE_READ, NULL);
	u8 *right;
	bool good = false;

	if (IS_ERR(disk)) {
		seq_puts(out, "dma: there is no " DISK "\n");
		return true;
	}
	right = (u8 *)__get_free_pages(GFP_KERNEL, 1);
	if (right) {
		good = test(out, disk, right);
		free_pages((unsigned long)right, 1);
	}
	blkdev_put(disk, FMODE_READ);
	seq_printf(out, "dma: %s\n", good ? "passed" : "failed");
	return good;
}
