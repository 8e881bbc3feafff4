/* SPDX-License-Identifier: GPL-2.0-only */

/*
 * Where the objects of a case lie, which decides whether they cross a page.
 *
 * A relocatable object has sections without addresses. Here a section counts as beginning at the start of a page, so
 * that an object crosses a page if its offsets in its section do. That is no fiction: the room that these macros put in
 * front is itself aligned to 4096, and so the section is, wherever a module loader or a linker puts it. Compilers order
 * objects as they like; those marked IN_ORDER come in the order of the source and before all others of their section.
 */
#ifndef AUDIT_CORPUS_PLACE_H
#define AUDIT_CORPUS_PLACE_H

#include <linux/types.h>
#include <linux/compiler.h>

#define IN_ORDER __attribute__((no_reorder))
#define ROOM IN_ORDER __used __attribute__((aligned(4096)))

/* The next IN_ORDER object of the section begins `bytes` after the start of a page, or at its alignment after that. */
#define ROOM_IN_DATA(bytes) static u8 room_in_data[bytes] ROOM = { 1 }
#define ROOM_IN_BSS(bytes) static u8 room_in_bss[bytes] ROOM
#define ROOM_IN_RODATA(bytes) static const u8 room_in_rodata[bytes] ROOM = { 1 }

#endif
