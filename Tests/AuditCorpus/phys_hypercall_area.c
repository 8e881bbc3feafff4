// SPDX-License-Identifier: GPL-2.0-only
/* The same with an area that the hypervisor fills from a first page into a second. */
#include <linux/io.h>
#include <linux/kvm_para.h>
#include <linux/module.h>
#include "place.h"

#define CORPUS_HC_STATS 0x101

ROOM_IN_BSS(3800);
static struct {
	u32 version, entries;
	u64 steal[64];
} host_stats IN_ORDER;

int host_stats_read(unsigned int cpu, u64 *steal)
{
	long ret = kvm_hypercall2(CORPUS_HC_STATS, __pa(&host_stats), sizeof(host_stats));

	barrier();
	if (!ret && cpu < ARRAY_SIZE(host_stats.steal))
		*steal = host_stats.steal[cpu];
	return ret;
}
MODULE_LICENSE("GPL");
