// SPDX-License-Identifier: MIT
#pragma once

// What a measurement on x86-64 needs and Swift cannot spell: the time-stamp counter with the fences that keep other
// work on its side of it, values that the compiler knows nothing of, and eviction of a line from every cache. And the
// loops of lookups as they would be in C, to compare with.

#include <stddef.h>
#include <stdint.h>

#define KPERM_INLINE static inline __attribute__((always_inline))

// Ticks; nothing from before is still under way, nothing from after has begun.
KPERM_INLINE uint64_t ticks(void) {
    uint32_t low, high;
    __asm__ volatile("mfence\n\tlfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

// The same value, of which the compiler knows no more; costs no instruction.
KPERM_INLINE uint64_t opaque(uint64_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}

// Uses a value; costs no instruction.
KPERM_INLINE void consume(uint64_t value) { __asm__ volatile("" : : "r"(value)); }

// What is compiled next begins a cache line. Whether a loop of six instructions lies in one line or in two, which the
// linker else decides, changes its time by a quarter and more.
KPERM_INLINE void align_loop(void) { __asm__ volatile(".p2align 6"); }

KPERM_INLINE void evict_line(const void *line) { __asm__ volatile("clflush (%0)" : : "r"(line) : "memory"); }

// 16 operations for each count that wait for one another, each of which takes one cycle on every processor of this kind.
KPERM_INLINE void wait_cycles(uint64_t count) {
    uint64_t value = 0;
    __asm__ volatile("1:\n\t.rept 16\n\tnot %0\n\t.endr\n\tdec %1\n\tjnz 1b" : "+r"(value), "+r"(count) : : "cc");
}

// Jumps to code and comes back.
KPERM_INLINE uint64_t call_code(const void *code, uint64_t value) {
    return ((uint64_t (*)(uint64_t))(uintptr_t)code)(value);
}

// The loops of LookupLoops.swift: `count` addresses, one after the other, without and with one waiting for the other. The
// physical base is a word in memory, as phys_base is.
void c_linear_throughput(uint64_t virtual_base, const uint64_t *physical_base, const uint64_t *addresses, size_t count);
uint64_t c_linear_latency(uint64_t virtual_base, const uint64_t *physical_base, uint64_t address, const uint64_t *steps,
                          size_t count);
void c_offsets_throughput(const uint64_t *offsets, uint64_t minus_base, uint64_t pages, const uint64_t *addresses,
                          size_t count);
uint64_t c_offsets_latency(const uint64_t *offsets, uint64_t minus_base, uint64_t pages, uint64_t address,
                           const uint64_t *steps, size_t count);
void c_flat_throughput(const void *table, const uint64_t *addresses, size_t count);
uint64_t c_flat_latency(const void *table, uint64_t address, const uint64_t *steps, size_t count);
