// SPDX-License-Identifier: MIT

// Instructions of x86-64 that Swift cannot spell. Read by Kernel.h.

ADDRESS(imageStart, _text)
ADDRESS(dataStart, _sdata)

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
