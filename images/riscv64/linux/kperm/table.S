/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The descriptor and the tables; descriptor.h says what each field is. They are the first
 * pages of section .kperm, which stay and are read-only once the kernel runs.
 */

#include <linux/linkage.h>
#include <asm/page.h>
#include <asm/thread_info.h>

	.section .kperm, "aw", @progbits
	.balign	PAGE_SIZE
	.globl	kperm_descriptor
kperm_descriptor:
	.ascii	"kperm\0rv"
	.word	1
	.word	kperm_descriptor_end - kperm_descriptor
	.word	kperm_descriptor - _start
	.word	_end - _start
	.word	__bss_start - _start
	.word	PAGE_SIZE
	.word	CONFIG_KPERM_PAGES
	.word	kperm_forward - _start
	.word	kperm_inverse - _start
	.word	classes - _start
	.word	(classes_end - classes) / 32
	.word	pins - _start
	.word	(pins_end - pins) / 64
	.word	0			/* mode */
	.word	0			/* flags */
	.word	0			/* moved */
	.word	0			/* sources */
	.word	0			/* state */
	.dword	0			/* physical */
	.dword	_start
	.word	0			/* original */
	.zero	8
	.word	changed - _start
	.word	(changed_end - changed) / 32
	.word	start_kernel - _start
kperm_descriptor_end:

	.macro class name, start, end
1:	.ascii	"\name"
	.zero	24 - (. - 1b)
	.word	\start - _start
	.word	\end - _start
	.endm

classes:
	class	text, __kperm_text_end, _etext
	class	init-text, __kperm_init_text_end, __init_data_begin
	class	init-data, __kperm_init_data_end, __init_end
	class	rodata, __kperm_end, _data
	class	data, __kperm_data_end, _edata
	class	bss, __bss_start, _end
classes_end:

	.macro pin start, end, reason
1:	.ascii	"\reason"
	.zero	56 - (. - 1b)
	.word	\start - _start
	.word	\end - _start
	.endm

pins:
	pin	_start, _stext, "entry of each hart, before its MMU is on"
	pin	_stext, __kperm_text_end, "called with the MMU off"
	pin	_sinittext, __kperm_init_text_end, "setup_vm, with the MMU off"
	pin	__init_data_begin, __kperm_init_data_end, "used by setup_vm, with the MMU off"
	pin	__kperm_start, __kperm_end, "the table, and what is read with the MMU off"
	pin	_data, __kperm_data_end, "page tables, and what setup_vm writes"
pins_end:

changed:
	class	start, boot_cpu_hartid, boot_cpu_hartid + 8
	class	start, init_thread_union, init_thread_union + THREAD_SIZE
	class	start, __init_data_begin, __kperm_init_data_end
	class	start, kperm_tables_end, __kperm_end
	class	start, _data, __kperm_data_end
	class	init, __start_ro_after_init, __end_ro_after_init
	class	init, kperm_tables_end, __kperm_end
#ifdef CONFIG_DYNAMIC_FTRACE
	class	mcount, __start_mcount_loc, __stop_mcount_loc
	class	patched, ftrace_call, ftrace_call + 8
#ifdef CONFIG_DYNAMIC_FTRACE_WITH_REGS
	class	patched, ftrace_regs_call, ftrace_regs_call + 8
#endif
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	class	patched, ftrace_graph_call, ftrace_graph_call + 8
#ifdef CONFIG_DYNAMIC_FTRACE_WITH_REGS
	class	patched, ftrace_graph_regs_call, ftrace_graph_regs_call + 8
#endif
#endif
#endif
#ifdef CONFIG_JUMP_LABEL
	class	jumps, __start___jump_table, __stop___jump_table
#endif
changed_end:

	.balign	PAGE_SIZE
	.globl	kperm_forward
kperm_forward:
	.zero	4 * CONFIG_KPERM_PAGES
	.globl	kperm_inverse
kperm_inverse:
	.zero	4 * CONFIG_KPERM_PAGES
kperm_tables_end:
