// SPDX-License-Identifier: GPL-2.0-only

/*
 * The self-test, run whenever somebody reads kperm/test in debugfs: each page of the
 * image as the page tables map it, against the translation and its inverse, against
 * the bytes that the linear map shows there, and for its permissions; cost.c and dma.c
 * have their own parts. Its last line says "passed" or "failed". There is none of it
 * without kperm_test on the kernel's command line.
 */

#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/uaccess.h>
#include <asm/sections.h>
#include "test.h"

struct counts {
	u32 pages, moved, text, unmapped, wrong, inverse_wrong, written_and_run;
	/* of the linear map, where it shows the same frame */
	u32 alias_wrong, bytes_differ, alias_runs, alias_written, alias_written_and_run, usercopy_wrong;
};

/* The entry that maps an address of the kernel and has a page's size; 0 if there is none. */
static unsigned long mapping(unsigned long address)
{
	pgd_t *pgd = pgd_offset_k(address);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (!pgd_present(*pgd) || pgd_leaf(*pgd))
		return 0;
	p4d = p4d_offset(pgd, address);
	if (!p4d_present(*p4d) || p4d_leaf(*p4d))
		return 0;
	pud = pud_offset(p4d, address);
	if (!pud_present(*pud) || pud_leaf(*pud))
		return 0;
	pmd = pmd_offset(pud, address);
	if (!pmd_present(*pmd) || pmd_leaf(*pmd))
		return 0;
	return pte_val(*pte_offset_kernel(pmd, address));
}

/* What other harts write meanwhile may differ once, not always. */
static bool same_bytes(const void *a, const void *b)
{
	int tries = 100;

	while (tries--)
		if (!memcmp(a, b, PAGE_SIZE))
			return true;
	return false;
}

static void test_page(unsigned long address, struct counts *counts)
{
	unsigned long entry = mapping(address), physical = __pa(address), alias = (unsigned long)__va(physical);
	unsigned long alias_entry = mapping(alias);
	bool init = address >= (unsigned long)__init_begin && address < (unsigned long)__init_end;
	bool text = address >= (unsigned long)_stext && address < (unsigned long)_etext;

	counts->pages++;
	counts->moved += physical != kperm_linear_pa(address);
	counts->text += text;
	if (!(entry & _PAGE_PRESENT)) {
		counts->unmapped++;
		return;
	}
	counts->wrong += pte_pfn(__pte(entry)) != physical >> PAGE_SHIFT;
	counts->inverse_wrong += (unsigned long)kernel_mapping_pa_to_va(physical) != address;
	counts->written_and_run += (entry & _PAGE_WRITE) && (entry & _PAGE_EXEC);
	counts->alias_wrong += !(alias_entry & _PAGE_PRESENT) || pte_pfn(__pte(alias_entry)) != physical >> PAGE_SHIFT;
	counts->alias_written_and_run += (alias_entry & _PAGE_WRITE) && (alias_entry & _PAGE_EXEC);
	/* copies to user space must tell the frames of text, and no others, also from just before */
	counts->usercopy_wrong += kperm_overlaps_text_alias(alias, 1) != text;
	counts->usercopy_wrong += text && !kperm_overlaps_text_alias(alias - 1, 2);
	/* freed, its frame belongs to others: to a module's code, which may run in the linear map, too */
	if (init)
		return;
	counts->alias_runs += !!(alias_entry & _PAGE_EXEC);
	counts->alias_written += !(entry & _PAGE_WRITE) && (alias_entry & _PAGE_WRITE);
	counts->bytes_differ += !same_bytes((void *)address, (void *)alias);
}

bool kperm_test_pages(struct seq_file *out)
{
	unsigned long end = (unsigned long)_end, address;
	struct counts counts = {};

	for (address = (unsigned long)_start; address < end; address += PAGE_SIZE)
		test_page(address, &counts);
	seq_printf(out, "test: paging mode Sv%lu\n", (unsigned long)(9 * (satp_mode >> 60) - 33));
	seq_printf(out, "test: %u pages, %u moved; unmapped %u; table and page tables differ %u; inverse wrong %u; ",
		   counts.pages, counts.moved, counts.unmapped, counts.wrong, counts.inverse_wrong);
	seq_printf(out, "written and run %u\n", counts.written_and_run);
	seq_printf(out, "test: in the linear map: not there %u, other bytes %u, runs %u, written and run %u, ",
		   counts.alias_wrong, counts.bytes_differ, counts.alias_runs, counts.alias_written_and_run);
	seq_printf(out, "written where the image is not %u; of %u pages of text and the others told wrong %u\n",
		   counts.alias_written, counts.text, counts.usercopy_wrong);
	return !(counts.unmapped || counts.wrong || counts.inverse_wrong || counts.written_and_run || counts.alias_wrong ||
		 counts.bytes_differ || counts.alias_runs || counts.alias_written_and_run || counts.alias_written ||
		 counts.usercopy_wrong);
}

static int show(struct seq_file *out, void *unused)
{
	bool good = kperm_test_pages(out);

	good &= kperm_test_costs(out);
	good &= kperm_test_dma(out);
	seq_printf(out, "test: %s\n", good ? "passed" : "failed");
	return 0;
}

static int test_open(struct inode *inode, struct file *file)
{
	return single_open_size(file, show, NULL, 4 * PAGE_SIZE);
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = test_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

/*
 * The image as the linear map shows it, copied to user space: what the kernel refuses for text, and ends the reader.
 * Pages of init memory belong to others by now.
 */
static ssize_t read_alias(struct file *file, char __user *to, size_t bytes, loff_t *position)
{
	char *address = _start + *position;

	if (*position < 0 || address >= _end)
		return 0;
	if (address >= __init_begin && address < __init_end)
		return -ENODATA;
	bytes = min_t(size_t, bytes, PAGE_SIZE - offset_in_page(address));
	return copy_to_user(to, lm_alias(address), bytes) ? -EFAULT : bytes;
}

static const struct file_operations alias_operations = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = read_alias,
};

static bool asked;

static int __init ask(char *rest)
{
	asked = !*rest;
	return asked;
}
__setup("kperm_test", ask);

static int __init kperm_test(void)
{
	struct dentry *directory = debugfs_lookup("kperm", NULL);

	if (asked) {
		debugfs_create_file("test", 0400, directory, NULL, &operations);
		debugfs_create_file("alias", 0400, directory, NULL, &alias_operations);
	}
	dput(directory);
	return 0;
}
late_initcall_sync(kperm_test);
