// SPDX-License-Identifier: GPL-2.0-only

/*
 * The self-test, run whenever somebody reads kperm/test in debugfs: each page of the
 * image as the page tables map it, against the translation and its inverse, against
 * the bytes that the linear map shows there, and for its permissions; and what a
 * translation costs. Its last line says "passed" or "failed".
 */

#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>
#include <asm/sections.h>
#include "descriptor.h"

struct counts {
	u32 pages, moved, unmapped, wrong, inverse_wrong, bytes_differ, both_write_and_run, alias_runs, text_alias_written;
	u32 read_only_alias_written;
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
	bool constant = address >= (unsigned long)__kperm_start && address < (unsigned long)_data;

	counts->pages++;
	counts->moved += physical != kperm_linear_pa(address);
	if (!(entry & _PAGE_PRESENT)) {
		counts->unmapped++;
		return;
	}
	counts->wrong += pte_pfn(__pte(entry)) != physical >> PAGE_SHIFT;
	counts->inverse_wrong += (unsigned long)kernel_mapping_pa_to_va(physical) != address;
	counts->both_write_and_run += (entry & _PAGE_WRITE) && (entry & _PAGE_EXEC);
	/* freed, its frame belongs to others: to a module's code, which may run in the linear map, too */
	if (init)
		return;
	counts->alias_runs += !!(alias_entry & _PAGE_EXEC);
	counts->text_alias_written += text && (alias_entry & _PAGE_WRITE);
	counts->read_only_alias_written += constant && (alias_entry & _PAGE_WRITE);
	counts->bytes_differ += !same_bytes((void *)address, (void *)alias);
}

enum way { FORMULA, TABLE, PAGE_TABLES };

static __always_inline unsigned long translate(unsigned long address, enum way way)
{
	switch (way) {
	case FORMULA:
		return is_linear_mapping(address) ? linear_mapping_va_to_pa(address) : kperm_linear_pa(address);
	case TABLE:
		return __pa(address);
	default:
		return page_to_phys(vmalloc_to_page((void *)address)) + offset_in_page(address);
	}
}

/* Instructions and nanoseconds for 1000 translations, the loop's included; only instructions that -icount counts are. */
static __always_inline void measure(struct seq_file *out, const char *name, unsigned long address, enum way way)
{
	unsigned long flags, instructions, started, cycles, sum = 0;
	int i;

	local_irq_save(flags);
	started = csr_read(CSR_TIME);
	instructions = csr_read(CSR_INSTRET);
	for (i = 0; i < 1000; i++) {
		unsigned long hidden = address;

		asm volatile("" : "+r"(hidden));
		sum += translate(hidden, way);
		asm volatile("" : "+r"(sum));
	}
	instructions = csr_read(CSR_INSTRET) - instructions;
	cycles = csr_read(CSR_TIME) - started;
	local_irq_restore(flags);
	seq_printf(out, "cost: %s: %lu instructions, %lu ticks of the time counter for 1000\n", name, instructions, cycles);
}

static noinline void measure_nothing(struct seq_file *out)
{
	unsigned long flags, instructions, sum = 0;
	int i;

	local_irq_save(flags);
	instructions = csr_read(CSR_INSTRET);
	for (i = 0; i < 1000; i++) {
		unsigned long hidden = (unsigned long)_start;

		asm volatile("" : "+r"(hidden));
		sum += hidden;
		asm volatile("" : "+r"(sum));
	}
	instructions = csr_read(CSR_INSTRET) - instructions;
	local_irq_restore(flags);
	seq_printf(out, "cost: the loop alone: %lu instructions for 1000\n", instructions);
}

static int show(struct seq_file *out, void *unused)
{
	unsigned long image = (unsigned long)_stext, end = (unsigned long)_end, address;
	struct counts counts = {};
	u32 failures;

	for (address = (unsigned long)_start; address < end; address += PAGE_SIZE)
		test_page(address, &counts);
	failures = counts.unmapped + counts.wrong + counts.inverse_wrong + counts.bytes_differ + counts.both_write_and_run +
		   counts.alias_runs + counts.text_alias_written + counts.read_only_alias_written;
	seq_printf(out, "test: paging mode Sv%lu\n", (unsigned long)(9 * (satp_mode >> 60) - 33));
	seq_printf(out, "test: %u pages, %u moved; unmapped %u; table and page tables differ %u; inverse wrong %u\n",
		   counts.pages, counts.moved, counts.unmapped, counts.wrong, counts.inverse_wrong);
	seq_printf(out, "test: bytes differ in the linear map %u; written and run %u; linear map runs %u; ", counts.bytes_differ,
		   counts.both_write_and_run, counts.alias_runs);
	seq_printf(out, "text written there %u, constants %u\n", counts.text_alias_written, counts.read_only_alias_written);
	measure_nothing(out);
	measure(out, "image address, formula", image, FORMULA);
	measure(out, "image address, table", image, TABLE);
	measure(out, "image address, page tables", image, PAGE_TABLES);
	measure(out, "linear-map address, formula", (unsigned long)out->buf, FORMULA);
	measure(out, "linear-map address, table", (unsigned long)out->buf, TABLE);
	seq_printf(out, "test: %s\n", failures ? "failed" : "passed");
	return 0;
}

static int test_open(struct inode *inode, struct file *file)
{
	return single_open(file, show, NULL);
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = test_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

static int __init kperm_test(void)
{
	debugfs_create_file("test", 0400, debugfs_lookup("kperm", NULL), NULL, &operations);
	return 0;
}
late_initcall_sync(kperm_test);
