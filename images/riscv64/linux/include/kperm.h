/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * The translation of image addresses where the image's pages are permuted: the
 * kernel's own formulas, and the difference that the tables hold for the page
 * (a signed number of bytes, 0 for a page that stays). Image addresses are told
 * by one comparison, before linear-map addresses: the image begins at a constant
 * address. Behind the image the tables hold 0, so an address just behind its end,
 * as in __pa_symbol(_end), is translated as ever.
 *
 * Included by asm/page.h, behind the definitions that it replaces.
 */

#ifndef _ASM_RISCV_KPERM_H
#define _ASM_RISCV_KPERM_H

#ifndef CONFIG_KPERM
#error "kperm: this configuration cannot have permuted pages; arch/riscv/kperm/Kconfig names what is in the way"
#endif

/* Both indexed by page number from the image's start: by page, and by the frame's place. Read only once the kernel runs. */
extern const int kperm_forward[CONFIG_KPERM_PAGES];
extern const int kperm_inverse[CONFIG_KPERM_PAGES];

/* Where the linker put an address: what the kernel computes when pages are not permuted, right for sets of pages. */
#define kperm_linear_pa(x)	((unsigned long)(x) - kernel_map.va_kernel_pa_offset)

#undef kernel_mapping_va_to_pa
#define kernel_mapping_va_to_pa(y)	({						\
	unsigned long _y = (unsigned long)(y);						\
	unsigned long _page = (_y - KERNEL_LINK_ADDR) >> PAGE_SHIFT;			\
	kperm_linear_pa(_y) + (_page < CONFIG_KPERM_PAGES ? kperm_forward[_page] : 0);	\
	})

#undef kernel_mapping_pa_to_va
#define kernel_mapping_pa_to_va(y)	({						\
	unsigned long _y = (unsigned long)(y);						\
	unsigned long _frame = (_y - kernel_map.phys_addr) >> PAGE_SHIFT;		\
	(void *)(_y + kernel_map.va_kernel_pa_offset +					\
		 (_frame < CONFIG_KPERM_PAGES ? kperm_inverse[_frame] : 0));		\
	})

#undef __va_to_pa_nodebug
#define __va_to_pa_nodebug(x)	({							\
	unsigned long _x = (unsigned long)(x);						\
	unsigned long _page = (_x - KERNEL_LINK_ADDR) >> PAGE_SHIFT;			\
	_page < CONFIG_KPERM_PAGES ?							\
		kperm_linear_pa(_x) + kperm_forward[_page] : linear_mapping_va_to_pa(_x); \
	})

/* arch/riscv/kperm/early.c, with the MMU off. */
void kperm_early(unsigned long dtb_pa);
unsigned long kperm_early_pte(void);
void kperm_device_tree(unsigned long dtb_pa);
bool kperm_mode_refused(unsigned long satp_mode);

extern char __kperm_start[];

/* arch/riscv/kperm/late.c */
bool kperm_alias_is_text(unsigned long va);
bool kperm_overlaps_text_alias(unsigned long address, unsigned long bytes);
unsigned long kperm_map_size(unsigned long pa, unsigned long best);
void kperm_set_alias(const char *start, const char *end, int (*set_memory)(unsigned long start, int num_pages));

#endif
