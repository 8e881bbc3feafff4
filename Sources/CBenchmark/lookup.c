// SPDX-License-Identifier: MIT

// The linear offset and the flat tables in C, over the bytes that TableLookup.swift and OffsetLookup.swift describe.

#include "CBenchmark.h"

struct table {
    uint64_t magic;
    uint16_t version, flags;
    uint32_t pages;
    uint64_t virtual_base, physical_base;
    uint32_t moved, checksum;
    uint32_t entries[];
};

static inline uint64_t flat_physical(const struct table *table, uint64_t address) {
    uint64_t offset = address - table->virtual_base;
    uint64_t page = offset >> 12;
    if (__builtin_expect(page >= table->pages, 0))
        return offset + table->physical_base;
    return table->physical_base + ((uint64_t)table->entries[page] << 12) + (offset & 0xfff);
}

static inline uint64_t offsets_physical(const uint64_t *offsets, uint64_t minus_base, uint64_t pages, uint64_t outside,
                                        uint64_t address) {
    uint64_t page = (address + minus_base) >> 12;
    if (__builtin_expect(page >= pages, 0))
        page = outside;
    return address + offsets[page];
}

// The loops begin alike in both languages: behind a test of the count, on a cache line's border.
#define REPEAT(count, ...)                                                                                             \
    if ((count) > 0) {                                                                                                 \
        size_t i = 0;                                                                                                  \
        align_loop();                                                                                                  \
        do {                                                                                                           \
            __VA_ARGS__;                                                                                               \
        } while (++i < (count));                                                                                       \
    }

void c_linear_throughput(uint64_t virtual_base, const uint64_t *physical_base, const uint64_t *addresses, size_t count) {
    REPEAT(count, consume(opaque(addresses[i]) - virtual_base + *physical_base))
}

uint64_t c_linear_latency(uint64_t virtual_base, const uint64_t *physical_base, uint64_t address, const uint64_t *steps,
                          size_t count) {
    REPEAT(count, address = opaque(address) - virtual_base + *physical_base + steps[i])
    return address;
}

void c_flat_throughput(const void *table, const uint64_t *addresses, size_t count) {
    REPEAT(count, consume(flat_physical(table, opaque(addresses[i]))))
}

uint64_t c_flat_latency(const void *table, uint64_t address, const uint64_t *steps, size_t count) {
    REPEAT(count, address = flat_physical(table, opaque(address)) + steps[i])
    return address;
}

void c_offsets_throughput(const uint64_t *offsets, uint64_t minus_base, uint64_t pages, const uint64_t *addresses,
                          size_t count) {
    uint64_t outside = opaque(pages);
    REPEAT(count, consume(offsets_physical(offsets, minus_base, pages, outside, opaque(addresses[i]))))
}

uint64_t c_offsets_latency(const uint64_t *offsets, uint64_t minus_base, uint64_t pages, uint64_t address,
                           const uint64_t *steps, size_t count) {
    uint64_t outside = opaque(pages);
    REPEAT(count, address = offsets_physical(offsets, minus_base, pages, outside, opaque(address)) + steps[i])
    return address;
}
