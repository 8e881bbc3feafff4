/* SPDX-License-Identifier: GPL-2.0-only */

/* The parts of the self-test; each adds its lines, and gives whether all it asserts holds. */

#ifndef KPERM_TEST_H
#define KPERM_TEST_H

#include <linux/seq_file.h>
#include <linux/types.h>

bool kperm_test_pages(struct seq_file *out);
bool kperm_test_costs(struct seq_file *out);
bool kperm_test_dma(struct seq_file *out);

#endif
