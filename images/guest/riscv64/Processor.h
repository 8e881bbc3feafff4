// SPDX-License-Identifier: MIT

// Instructions of RISC-V that Swift cannot spell, and what entry.S shares. Read by Kernel.h.

ADDRESS(imageStart, _start)
ADDRESS(dataStart, _data)
ADDRESS(secondaryStart, secondary_start_sbi)
ADDRESS(translationTablePointer, kperm_table)
ADDRESS(hartsUp, harts_up)
ADDRESS(bootHart, boot_hart)

static inline uint64_t readSATP(void) {
    uint64_t value;
    __asm__ volatile("csrr %0, satp" : "=r"(value));
    return value;
}

// A call of the firmware (SBI 1.0): its error code, 0 if there was none.
static inline int64_t callFirmware(uint64_t extension, uint64_t function, uint64_t a, uint64_t b, uint64_t c) {
    register uint64_t a0 __asm__("a0") = a;
    register uint64_t a1 __asm__("a1") = b;
    register uint64_t a2 __asm__("a2") = c;
    register uint64_t a6 __asm__("a6") = function;
    register uint64_t a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (int64_t)a0;
}

// What others write shows behind this.
static inline void pauseForOthers(void) {
    __asm__ volatile("fence" : : : "memory");
}

static inline void writeDevice(uint64_t address, uint8_t value) {
    *(volatile uint8_t *)address = value;
}

static inline uint8_t readDevice(uint64_t address) {
    return *(volatile uint8_t *)address;
}
