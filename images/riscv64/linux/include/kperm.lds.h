/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Where the linker puts what the kernel runs and reads with the MMU off, so that
 * it lies on pages of its own, which stay: setup_vm() and what it calls, with all
 * their data and their 64-bit literals, and what is drawn and moved with. Each of
 * these stands before the sections that would take the same input otherwise. The
 * BSS among them lies in the file, for the clearing of the BSS comes later.
 */

#define KPERM_MM *riscv/mm/init.o
#define KPERM_EARLY *riscv/kperm/early*.o

#define KPERM_TEXT							\
		KPERM_MM(.text .text.*)					\
		KPERM_EARLY(.text .text.*)				\
		*memset.o(.text .text.*)				\
		*memcpy.o(.text .text.*)				\
		. = ALIGN(PAGE_SIZE);					\
		__kperm_text_end = .;

#define KPERM_INIT_TEXT							\
		KPERM_MM(.init.text .init.text.*)			\
		. = ALIGN(PAGE_SIZE);					\
		__kperm_init_text_end = .;

#define KPERM_INIT_DATA							\
	. = ALIGN(PAGE_SIZE);						\
	.init.kperm : {							\
		KPERM_MM(.init.data .init.data.* .init.rodata .init.rodata.*) \
		KPERM_EARLY(.data .data.* .sdata .sdata.* .bss .bss.* .sbss .sbss.*) \
		KPERM_EARLY(.rodata .rodata.* .srodata .srodata.*)	\
		. = ALIGN(PAGE_SIZE);					\
		__kperm_init_data_end = .;				\
	}

#define KPERM_RO_DATA							\
	. = ALIGN(PAGE_SIZE);						\
	.kperm : {							\
		__kperm_start = .;					\
		*(.kperm)						\
		KPERM_MM(.data..ro_after_init .srodata .srodata.* .rodata.cst*) \
		. = ALIGN(PAGE_SIZE);					\
		__kperm_end = .;					\
	}

#define KPERM_DATA							\
	.kperm.data : {							\
		KPERM_MM(.data .data.* .sdata .sdata.* .bss .bss.* .sbss .sbss.*) \
		BYTE(0)							\
		. = ALIGN(PAGE_SIZE);					\
		__kperm_data_end = .;					\
	}

#define KPERM_CHECK							\
	ASSERT(_end - _start < CONFIG_KPERM_PAGES * PAGE_SIZE,		\
	       "kperm: the image has more pages than the table: raise KPERM_PAGES") \
	ASSERT(__kperm_text_end - _stext > 512, "kperm: arch/riscv/mm/init.o was not found by its name") \
	ASSERT(__bss_start % PAGE_SIZE == 0, "kperm: data and BSS share a page")
