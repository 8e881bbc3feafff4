// SPDX-License-Identifier: GPL-2.0-only
/* Maps a static area of four pages into a process as one range of frames. */
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include "place.h"

static u8 area[4 * PAGE_SIZE] IN_ORDER __aligned(PAGE_SIZE);

static int area_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long bytes = vma->vm_end - vma->vm_start;

	if (vma->vm_pgoff || bytes > sizeof(area))
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, virt_to_phys(area) >> PAGE_SHIFT, bytes, vma->vm_page_prot);
}

const struct file_operations area_fops = {
	.owner = THIS_MODULE,
	.mmap = area_mmap,
};
MODULE_LICENSE("GPL");
