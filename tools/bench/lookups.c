// SPDX-License-Identifier: MIT

// A QEMU plugin that counts what a guest's kernel executes, and how much of it in
// the lookups of rewritten translations. Debian ships QEMU without the header for
// plugins, so what is used of it is declared here, as version 1 of the interface
// has it.
//
//     -plugin FILE,low=ADDRESS,high=ADDRESS,syscall=ADDRESS,out=FILE
//
// low..<high is where the lookups lie, which have one `cmovae` each; `syscall` is the first instruction of a system call.
// OUT receives four numbers of 64 bits for each of 16 processors: instructions of the kernel; of these, in low..<high;
// lookups; system calls. It is a mapping, so that the counts are there however the emulator ends.

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { WITHOUT_REGISTERS = 0 };
typedef void (*executed)(unsigned int cpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, executed, int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, executed, int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { MOST_PROCESSORS = 16 };

static uint64_t low, high, syscall_entry;
static struct counts {
    uint64_t kernel, inside, lookups, calls;
} *counts;

static void in_kernel(unsigned int cpu, void *data) { counts[cpu % MOST_PROCESSORS].kernel += (uintptr_t)data; }

static void inside(unsigned int cpu, void *data) {
    in_kernel(cpu, data);
    counts[cpu % MOST_PROCESSORS].inside += (uintptr_t)data;
}

static void lookup(unsigned int cpu, void *data) {
    (void)data;
    counts[cpu % MOST_PROCESSORS].lookups++;
}

static void call(unsigned int cpu, void *data) {
    (void)data;
    counts[cpu % MOST_PROCESSORS].calls++;
}

static bool is_cmovae(const struct qemu_plugin_insn *insn) {
    const uint8_t *bytes = qemu_plugin_insn_data(insn);
    return qemu_plugin_insn_size(insn) > 3 && (bytes[0] & 0xf0) == 0x40 && bytes[1] == 0x0f && bytes[2] == 0x43;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    uintptr_t count = qemu_plugin_tb_n_insns(block);
    uint64_t start = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(block, 0));
    bool is_inside = start >= low && start < high;
    (void)id;
    if ((int64_t)start >= 0) return;
    qemu_plugin_register_vcpu_tb_exec_cb(block, is_inside ? inside : in_kernel, WITHOUT_REGISTERS, (void *)count);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        executed what = qemu_plugin_insn_vaddr(insn) == syscall_entry ? call : is_inside && is_cmovae(insn) ? lookup : NULL;
        if (what) qemu_plugin_register_vcpu_insn_exec_cb(insn, what, WITHOUT_REGISTERS, NULL);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    int file = -1;
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) return -1;
        *value++ = 0;
        if (!strcmp(argv[i], "low")) low = strtoull(value, NULL, 16);
        else if (!strcmp(argv[i], "high")) high = strtoull(value, NULL, 16);
        else if (!strcmp(argv[i], "syscall")) syscall_entry = strtoull(value, NULL, 16);
        else if (!strcmp(argv[i], "out")) file = open(value, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        else return -1;
    }
    if (!syscall_entry || file < 0 || ftruncate(file, MOST_PROCESSORS * sizeof(*counts))) return -1;
    counts = mmap(NULL, MOST_PROCESSORS * sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (counts == MAP_FAILED) return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
