// SPDX-License-Identifier: MIT

// A QEMU plugin that counts the instructions between two places of a guest's
// code, by part: from one mark that it passes to the next. Debian ships QEMU
// without the header for plugins, so what is used of it is declared here, as
// version 1 of the interface has it.
//
//     -plugin FILE,from=ADDRESS,to=ADDRESS,low=ADDRESS,high=ADDRESS,mark=ADDRESS:PART,...,out=FILE
//
// Code in the ranges low..<high is counted for each address ("PART RANGE OFFSET COUNT"), all other code, the kernel's
// that is called or that handles a fault, in one sum ("PART other 0 COUNT"). At `to` the counts are written.
//
// QEMU carries out a string instruction with a repeat prefix step by step, each step as an instruction of its own, and so
// the look that finds no step left: a page by `rep movsq` counts as 513. ("strings STEPS BEGUN" says what was seen.)

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum { MOST_PARTS = 32, MOST_RANGES = 4, MOST_BYTES = 1 << 16 };

static struct range {
    uint64_t low, high;
} ranges[MOST_RANGES];
static struct mark {
    uint64_t address;
    const char *part;
} marks[MOST_PARTS];
static int range_count, mark_count;
static uint64_t from, to;
static const char *out;

// What is known of an instruction of the counted code; addresses of one range after the other.
static struct place {
    uint64_t address;
    uint64_t counts[MOST_PARTS];
    bool is_page_copy;
} *places[MOST_RANGES * MOST_BYTES];
static uint64_t others[MOST_PARTS];
static uint64_t steps, begun;
static const struct place *last;
static int part = -1;

static void report(void) {
    FILE *file = fopen(out, "w");
    if (!file) return;
    for (int i = 0; i < mark_count; i++) {
        for (int j = 0; j < MOST_RANGES * MOST_BYTES; j++)
            if (places[j] && places[j]->counts[i])
                fprintf(file, "%s %d %d %" PRIu64 "\n", marks[i].part, j / MOST_BYTES, j % MOST_BYTES, places[j]->counts[i]);
        if (others[i]) fprintf(file, "%s other 0 %" PRIu64 "\n", marks[i].part, others[i]);
    }
    fprintf(file, "strings %" PRIu64 " %" PRIu64 "\n", steps, begun);
    fclose(file);
}

static void in_range(unsigned int cpu, void *data) {
    struct place *place = data;
    (void)cpu;
    if (part < 0 && place->address != from) return;
    if (place->address == from) part = 0;
    for (int i = 0; i < mark_count; i++)
        if (marks[i].address == place->address) part = i;
    place->counts[part]++;
    if (place->is_page_copy) {
        steps++;
        begun += last != place;
    }
    last = place;
    if (place->address == to) {
        part = -1;
        report();
    }
}

static void elsewhere(unsigned int cpu, void *data) {
    (void)cpu;
    if (part >= 0) others[part] += (uintptr_t)data;
}

static struct place *find(struct qemu_plugin_insn *insn) {
    uint64_t address = qemu_plugin_insn_vaddr(insn);
    for (int i = 0; i < range_count; i++) {
        if (address < ranges[i].low || address >= ranges[i].high) continue;
        struct place **place = &places[i * MOST_BYTES + (address - ranges[i].low)];
        if (!*place) {
            *place = calloc(1, sizeof(**place));
            (*place)->address = address;
            (*place)->is_page_copy =
                qemu_plugin_insn_size(insn) == 3 && !memcmp(qemu_plugin_insn_data(insn), "\xf3\x48\xa5", 3);
        }
        return *place;
    }
    return NULL;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    size_t count = qemu_plugin_tb_n_insns(block);
    (void)id;
    if (!find(qemu_plugin_tb_get_insn(block, 0))) {
        qemu_plugin_register_vcpu_tb_exec_cb(block, elsewhere, WITHOUT_REGISTERS, (void *)(uintptr_t)count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        struct place *place = find(insn);
        if (place) qemu_plugin_register_vcpu_insn_exec_cb(insn, in_range, WITHOUT_REGISTERS, place);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) return -1;
        *value++ = 0;
        uint64_t address = strtoull(value, &value, 16);
        if (!strcmp(argv[i], "from")) from = address;
        else if (!strcmp(argv[i], "to")) to = address;
        else if (!strcmp(argv[i], "low") && range_count < MOST_RANGES) ranges[range_count].low = address;
        else if (!strcmp(argv[i], "high") && range_count < MOST_RANGES) ranges[range_count++].high = address;
        else if (!strcmp(argv[i], "mark") && mark_count < MOST_PARTS && *value == ':')
            marks[mark_count++] = (struct mark){address, strdup(value + 1)};
        else if (!strcmp(argv[i], "out")) out = strdup(argv[i] + 4);
        else return -1;
    }
    for (int i = 0; i < range_count; i++)
        if (ranges[i].high - ranges[i].low > MOST_BYTES) return -1;
    if (!out || !mark_count) return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
