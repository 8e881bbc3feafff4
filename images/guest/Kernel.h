// SPDX-License-Identifier: MIT

// What Swift cannot spell: the borders that kernel.ld and filler.S draw, as addresses, the calls into
// the filler's text, and the few instructions without which there is no kernel.

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
ADDRESS(dataStart, _sdata)
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

static inline uint64_t readCR3(void) {
    uint64_t value;
    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

static inline void writePort(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t readPort(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

#pragma GCC visibility pop
