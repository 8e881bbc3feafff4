// SPDX-License-Identifier: MIT

// What the driver needs besides: wider ports, an order of memory accesses that the compiler keeps, and
// the names that it shares with Linux.

#pragma once
#include "../Kernel.h"

#pragma GCC visibility push(hidden)

ADDRESS(sectorBuffer, sector_buffer)

// One stretch of physical memory, as a device gets it.
struct scatterlist {
    uint64_t address;
    uint32_t length;
};

// As in Linux: the entry for `length` bytes from `buffer` on, whose address is translated once.
extern void sg_init_one(struct scatterlist *list, const void *buffer, unsigned int length);

static inline void writePort16(uint16_t port, uint16_t value) {
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint16_t readPort16(uint16_t port) {
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline void writePort32(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint32_t readPort32(uint16_t port) {
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

// What others write shows behind this.
static inline void pauseForDevice(void) {
    __asm__ volatile("pause" : : : "memory");
}

#pragma GCC visibility pop
