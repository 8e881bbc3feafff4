// SPDX-License-Identifier: GPL-2.0-only
/* Maps such an area page by page. */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include "place.h"

static u8 area[4 * PAGE_SIZE] IN_ORDER __aligned(PAGE_SIZE) = { 1 };

static int area_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long at = vma->vm_start, i;
	int ret = 0;

	if (vma_pages(vma) > sizeof(area) / PAGE_SIZE)
		return -EINVAL;
	for (i = 0; !ret && i < vma_pages(vma); i++, at += PAGE_SIZE)
		ret = vm_insert_page(vma, at, virt_to_page(area + i * PAGE_SIZE));
	return ret;
}

const struct file_operations area_fops = {
	.owner = THIS_MODULE,
	.mmap = area_mmap,
};
MODULE_LICENSE("GPL");
