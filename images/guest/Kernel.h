// SPDX-License-Identifier: MIT

// What Swift cannot spell: the borders that kernel.ld and filler.S draw, as addresses, and the calls into
// the filler's text. The few instructions without which there is no kernel are in each processor's own header.

#pragma once
#include <stdint.h>

#pragma GCC visibility push(hidden)  // linked in here: no global offset table

#define ADDRESS(name, symbol)                                  \
    extern const char symbol[];                                \
    static inline uint64_t name(void) { return (uint64_t)symbol; }

ADDRESS(textStart, _text)
ADDRESS(textEnd, _etext)
ADDRESS(rodataStart, __start_rodata)
ADDRESS(rodataEnd, __end_rodata)
ADDRESS(dataEnd, _edata)
ADDRESS(initStart, __init_begin)
ADDRESS(initEnd, __init_end)
ADDRESS(bssStart, __bss_start)
ADDRESS(bssEnd, __bss_stop)
ADDRESS(imageEnd, _end)

ADDRESS(fillerTextStart, filler_text)
ADDRESS(fillerTextEnd, filler_text_end)
ADDRESS(fillerRodataStart, filler_rodata)
ADDRESS(fillerRodataEnd, filler_rodata_end)
ADDRESS(fillerDataStart, filler_data)
ADDRESS(fillerDataEnd, filler_data_end)
ADDRESS(fillerInitStart, filler_init)
ADDRESS(fillerInitEnd, filler_init_end)
ADDRESS(fillerBssStart, filler_bss)
ADDRESS(fillerBssEnd, filler_bss_end)

extern uint32_t (*const filler_text_calls[])(void);
static inline uint32_t callFillerText(uint32_t page) {
    return filler_text_calls[page]();
}

uint64_t linear_physical(uint64_t address);

#include "Processor.h"

#pragma GCC visibility pop
