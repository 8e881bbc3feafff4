// SPDX-License-Identifier: MIT

// The linear offset and the flat table in C, the second over the bytes that TableLookup.swift describes.

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

void c_linear_throughput(uint64_t virtual_base, const uint64_t *physical_base, const uint64_t *addresses, size_t count) {
    for (size_t i = 0; i < count; i++)
        consume(opaque(addresses[i]) - virtual_base + *physical_base);
}

uint64_t c_linear_latency(uint64_t virtual_base, const uint64_t *physical_base, uint64_t address, const uint64_t *steps,
                          size_t count) {
    for (size_t i = 0; i < count; i++)
        address = opaque(address) - virtual_base + *physical_base + steps[i];
    return address;
}

void c_flat_throughput(const void *table, const uint64_t *addresses, size_t count) {
    for (size_t i = 0; i < count; i++)
        consume(flat_physical(table, opaque(addresses[i])));
}

uint64_t c_flat_latency(const void *table, uint64_t address, const uint64_t *steps, size_t count) {
    for (size_t i = 0; i < count; i++)
        address = flat_physical(table, opaque(address)) + steps[i];
    return address;
}
