// SPDX-License-Identifier: GPL-2.0-only

/*
 * What a translation costs, by the linear formula, by the table and by a walk of the
 * page tables, and what the shuffle at boot did; one line a figure, as key=value.
 * Instructions can be told where the processor counts nothing else: in QEMU with
 * -icount shift=0, where the time counter counts them too. Only there are limits held.
 */

#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>
#include <asm/sections.h>
#include <asm/delay.h>
#include "descriptor.h"
#include "test.h"

enum { CALLS = 2000, ROUNDS = 9, PAGES = 256 };

struct cost {
	unsigned long instructions, ticks; /* of CALLS calls, the least of ROUNDS */
};

/* A call is as a place in the kernel is that translates one address: nothing is at hand but the address. */
#define WAY(name, expression)						\
	static noinline notrace unsigned long name(unsigned long x)	\
	{								\
		return expression;					\
	}

WAY(nothing, x)
WAY(formula, is_linear_mapping(x) ? linear_mapping_va_to_pa(x) : kperm_linear_pa(x))
WAY(table, __pa(x))
WAY(page_tables, page_to_phys(vmalloc_to_page((void *)x)) + offset_in_page(x))

static noinline notrace __noclone struct cost measure(unsigned long (*way)(unsigned long), unsigned long address)
{
	struct cost least = { -1ul, -1ul };
	int i, round;

	for (round = 0; round < ROUNDS; round++) {
		unsigned long flags, ticks, instructions, sum = 0;

		local_irq_save(flags);
		ticks = csr_read(CSR_TIME);
		instructions = csr_read(CSR_INSTRET);
		for (i = 0; i < CALLS; i++)
			sum += way(address + i % PAGES * PAGE_SIZE);
		asm volatile("" : : "r"(sum));
		least.instructions = min(least.instructions, csr_read(CSR_INSTRET) - instructions);
		least.ticks = min(least.ticks, csr_read(CSR_TIME) - ticks);
		local_irq_restore(flags);
	}
	return least;
}

static unsigned long long nanoseconds(unsigned long ticks)
{
	return (unsigned long long)ticks * NSEC_PER_SEC / riscv_timebase;
}

/* Instructions of a call beyond one that does nothing, in hundredths. */
static unsigned long beyond(struct cost cost, struct cost base)
{
	return cost.instructions > base.instructions ? (cost.instructions - base.instructions) * 100 / CALLS : 0;
}

static bool within(struct seq_file *out, const char *what, unsigned long value, unsigned long most)
{
	seq_printf(out, "limit: %s=%lu.%02lu most=%lu.%02lu %s\n", what, value / 100, value % 100, most / 100, most % 100,
		   value <= most ? "passed" : "failed");
	return value <= most;
}

static bool show_translations(struct seq_file *out, const char *address_name, unsigned long address, bool exact,
			      const char *limit_name, unsigned long most)
{
	static const struct {
		const char *name;
		unsigned long (*way)(unsigned long);
	} ways[] = { { "formula", formula }, { "table", table }, { "page-tables", page_tables } };
	struct cost base = measure(nothing, address), cost[ARRAY_SIZE(ways)];
	int i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		unsigned long ticks, instructions;

		cost[i] = measure(ways[i].way, address);
		ticks = cost[i].ticks > base.ticks ? cost[i].ticks - base.ticks : 0;
		seq_printf(out, "cost: virt_to_phys address=%s way=%s", address_name, ways[i].name);
		if (exact) {
			instructions = beyond(cost[i], base);
			seq_printf(out, " instructions=%lu.%02lu\n", instructions / 100, instructions % 100);
		} else {
			seq_printf(out, " picoseconds=%llu\n", nanoseconds(ticks) * 1000 / CALLS);
		}
	}
	return !exact || within(out, limit_name, beyond(cost[1], base) * 100 / max(beyond(cost[0], base), 1ul), most);
}

bool kperm_test_costs(struct seq_file *out)
{
	const struct descriptor *d = &kperm_descriptor;
	unsigned long image = (unsigned long)_start, ticks = d->draw_ticks + d->move_ticks;
	struct cost base = measure(nothing, image), again = measure(nothing, image);
	/* a call takes some ten instructions, always as many; else the counter counts something else */
	bool exact = base.instructions == again.instructions && base.instructions < 20ul * CALLS, good;
	unsigned long a_tick = exact ? DIV_ROUND_CLOSEST(base.instructions, max(base.ticks, 1ul)) : 0;

	seq_printf(out, "cost: counter instructions=%s a-tick=%lu ticks-a-second=%lu\n", exact ? "exact" : "unknown", a_tick,
		   riscv_timebase);
	good = show_translations(out, "image", image, exact, "image-table-to-formula", 250);
	good &= show_translations(out, "linear", (unsigned long)__va(kernel_map.phys_addr), exact,
				  "linear-table-to-formula", 150);
	if (!d->moved || d->mode != DRAWN_AT_BOOT)
		return good;
	seq_printf(out, "cost: shuffle moved=%u draw-ticks=%u move-ticks=%u", d->moved, d->draw_ticks, d->move_ticks);
	if (!exact) {
		seq_printf(out, " microseconds=%llu\n", nanoseconds(ticks) / 1000);
		return good;
	}
	seq_printf(out, " instructions=%lu\n", ticks * a_tick);
	return within(out, "shuffle-instructions-a-page", ticks * a_tick * 100 / d->moved, 500000) && good;
}
