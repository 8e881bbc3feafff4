/* SPDX-License-Identifier: GPL-2.0-only */

/* The stack until the MMU is on: the kernel's own first stack may be anywhere, page by page. */

	.bss
	.balign	16
	.zero	8192
	.globl	kperm_early_stack_end
kperm_early_stack_end:
