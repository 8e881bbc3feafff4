// SPDX-License-Identifier: GPL-2.0-or-later

// A plugin of QEMU that records what a kernel fetches, reads and writes, and where it translates addresses, as a trace
// (the format: Sources/TranslationSimulator/Trace/TraceFormat.swift). Debian ships QEMU without the header for plugins,
// so what is used of it is declared here, as version 1 of the interface has it.
//
//     -plugin FILE,out=TRACE,counts=FILE,base=ADDRESS,bytes=NUMBER,end=ADDRESS[,begin=ADDRESS][,skip=NUMBER]
//         [,references=NUMBER][,sites=FILE][,watch=FILE][,syscall=ADDRESS][,build=HEX][,workload=NAME]
//
// Addresses are hexadecimal, numbers decimal; `sites` and `watch` hold an address a line. From the instruction behind
// `begin` (else from the first one) to the next execution of `end` it counts: instructions, system calls (executions of
// `syscall`), writes of CR3, and how often each of `sites` and `watch` ran. In this time, after `skip` kernel
// instructions, it records until so many references are in the trace, or to the end.
//
// Kernel code is code in the upper half of the addresses. What it does to memory counts, wherever that is; what the
// processor does by itself (interrupt frames, page walks) does not show. QEMU carries out a string instruction with a
// repeat prefix step by step; here it is one instruction. One virtual processor only: nothing is locked.

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info {
    const char *target;
    struct {
        int lowest, current;
    } version;
    bool is_system;
    int processors, most_processors;
};
enum { WITHOUT_REGISTERS = 0, READS_AND_WRITES = 3, ADD = 0 };
typedef void (*executed_callback)(unsigned int cpu, void *data);
typedef void (*memory_callback)(unsigned int cpu, qemu_plugin_meminfo_t, uint64_t address, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, executed_callback, int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int operation, void *value, uint64_t by);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, memory_callback, int flags, int which, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { FETCH, READ, WRITE, EVENT };
enum { SITE, SYSTEM_CALL, PROCESSOR, END, ADDRESS_SPACE, SKIPPED };
enum { BLOCK = 1 << 16, MOST_PENDING = 4096, LONGEST_RECORD = 64, COMPRESSION = 12 };

// What the trace is called while it is not complete.
static char *out, *partial, *counts, *workload = "";
static uint64_t base, image_bytes, skip, most_references = UINT64_MAX;
static uint8_t build[32];

// Addresses at which something is counted, in the order given, and by address.
struct place {
    uint64_t address, count;
    enum { AT_SITE, AT_WATCHED, AT_SYSTEM_CALL, AT_BEGIN, AT_END } what;
    uint32_t index;
};
static struct place *places, **by_address;
static size_t place_count, site_count;

// Instructions since the start, and at the beginning and the end of what is counted.
struct tally {
    uint64_t kernel, user, address_spaces;
};
static struct tally now, from;
static bool is_counting, is_recording, is_done;
// The kernel instruction that is the first to be recorded.
static uint64_t first_recorded = UINT64_MAX;
// The string instruction that the last step belonged to, and now.user then.
static uint64_t last_string, last_user;

static FILE *file;
static ZSTD_CCtx *encoder;
static uint8_t block[BLOCK + LONGEST_RECORD + MOST_PENDING], pending[MOST_PENDING + LONGEST_RECORD];
static size_t block_used, pending_used;

static uint64_t references[3];
static uint64_t fetch_line, open_line, open_instructions, data_line, data_written_line, seen_user;
static bool is_open;
static int last_kind;

_Noreturn static void fail(const char *what, const char *path) {
    fprintf(stderr, "trace plugin: %s%s%s; nothing was recorded\n", what, path ? " " : "", path ? path : "");
    if (partial) unlink(partial);
    if (counts) unlink(counts);
    _exit(1);
}

_Noreturn static void fail_to(const char *operation, const char *path) {
    char what[256];
    snprintf(what, sizeof what, "%s (%s):", operation, strerror(errno));
    fail(what, path);
}

// Hands the block on to the encoder.
static void drain(bool is_last) {
    static uint8_t compressed[BLOCK];
    ZSTD_inBuffer input = {block, block_used, 0};
    size_t left;
    do {
        ZSTD_outBuffer output = {compressed, sizeof compressed, 0};
        left = ZSTD_compressStream2(encoder, &output, &input, is_last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) fail("libzstd says:", ZSTD_getErrorName(left));
        if (fwrite(compressed, 1, output.pos, file) != output.pos) fail_to("cannot write", partial);
    } while (is_last ? left != 0 : input.pos < input.size);
    block_used = 0;
}

static size_t put(uint8_t *at, uint64_t value) {
    size_t used = 0;
    for (; value >= 0x80; value >>= 7) at[used++] = value | 0x80;
    at[used++] = value;
    return used;
}

static uint64_t zigzag(uint64_t delta) { return delta << 1 ^ -(delta >> 63); }

// Ends the record of the line that is being executed, with what was read and written meanwhile behind it.
static void close_fetch(void) {
    if (!is_open) return;
    is_open = false;
    block_used += put(block + block_used, zigzag(open_line - fetch_line) << 2 | FETCH);
    block_used += put(block + block_used, open_instructions);
    memcpy(block + block_used, pending, pending_used);
    block_used += pending_used;
    pending_used = 0;
    fetch_line = open_line;
    if (block_used >= BLOCK) drain(false);
}

static void put_behind(uint64_t record) {
    if (is_open) {
        pending_used += put(pending + pending_used, record);
        if (pending_used >= MOST_PENDING) close_fetch();
    } else {
        block_used += put(block + block_used, record);
        if (block_used >= BLOCK) drain(false);
    }
}

static void event(uint64_t type, uint64_t value) { put_behind((value << 3 | type) << 2 | EVENT); }

static void finish_recording(void) {
    is_recording = false;
    close_fetch();
    event(END, 0);
    drain(true);
    int status = fclose(file);
    file = NULL;
    if (status) fail_to("cannot write", partial);
}

static void fetch(uint64_t line, unsigned instructions) {
    if (is_open && line == open_line) {
        open_instructions += instructions;
        return;
    }
    close_fetch();
    if (references[FETCH] + references[READ] + references[WRITE] >= most_references) return finish_recording();
    if (now.user != seen_user) event(SKIPPED, now.user - seen_user);
    seen_user = now.user;
    is_open = true;
    open_line = line;
    open_instructions = instructions;
    references[FETCH]++;
}

static void data(uint64_t line, int kind) {
    if (line == data_written_line && kind == last_kind) return;
    put_behind(zigzag(line - data_line) << 2 | kind);
    data_line = data_written_line = line;
    last_kind = kind;
    references[kind]++;
}

// Kernel addresses begin with ones; in what is handed to the callback, the highest two bits say more.
static const uint64_t crosses_line = 1ull << 63, is_string = 1ull << 62;

static void kernel_executed(unsigned int cpu, void *pointer) {
    uint64_t address = (uintptr_t)pointer | crosses_line | is_string;
    (void)cpu;
    if (!((uintptr_t)pointer & is_string)) {
        if (address == last_string) return;
        last_string = address;
    } else {
        last_string = 0;
    }
    now.kernel++;
    if (!is_recording) {
        if (now.kernel != first_recorded) return;
        is_recording = true;
        seen_user = now.user;
    }
    fetch(address >> 6, 1);
    if (is_recording && !((uintptr_t)pointer & crosses_line)) fetch((address >> 6) + 1, 0);
}

static void user_string_executed(unsigned int cpu, void *pointer) {
    (void)cpu;
    if (last_string == (uintptr_t)pointer && last_user == now.user) return;
    last_string = (uintptr_t)pointer;
    last_user = ++now.user;
}

static void accessed(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *unused) {
    (void)cpu;
    (void)unused;
    if (!is_recording) return;
    uint64_t last = address + (1ull << qemu_plugin_mem_size_shift(info)) - 1;
    int kind = qemu_plugin_mem_is_store(info) ? WRITE : READ;
    data(address >> 6, kind);
    if (last >> 6 != address >> 6) data(last >> 6, kind);
}

static void address_space_written(unsigned int cpu, void *unused) {
    (void)cpu;
    (void)unused;
    now.address_spaces++;
    if (is_recording) event(ADDRESS_SPACE, 0);
}

static void begin(void) {
    is_counting = true;
    from = now;
    first_recorded = now.kernel + 1 + skip;
}

static void report(void) {
    FILE *to = fopen(counts, "w");
    if (!to) fail_to("cannot write", counts);
    fprintf(to, "kernel %" PRIu64 "\nuser %" PRIu64 "\n", now.kernel - from.kernel, now.user - from.user);
    fprintf(to, "spaces %" PRIu64 "\n", now.address_spaces - from.address_spaces);
    fprintf(to, "fetches %" PRIu64 "\nreads %" PRIu64 "\nwrites %" PRIu64 "\n", references[FETCH], references[READ],
            references[WRITE]);
    for (size_t i = 0; i < place_count; i++) {
        static const char *const names[] = {"site", "watched", "calls"};
        if (places[i].what <= AT_SYSTEM_CALL)
            fprintf(to, "%s %" PRIx64 " %" PRIu64 "\n", names[places[i].what], places[i].address, places[i].count);
    }
    if (fclose(to)) fail_to("cannot write", counts);
}

static void end(void) {
    if (first_recorded > now.kernel) fail("the workload ended before anything was to be recorded: lower skip=", NULL);
    if (is_recording) finish_recording();
    report();
    if (rename(partial, out)) fail_to("cannot rename", partial);
    is_counting = false;
    is_done = true;
}

static void came_by(unsigned int cpu, void *pointer) {
    struct place *place = pointer;
    (void)cpu;
    if (place->what == AT_BEGIN && !is_counting && !is_done) begin();
    if (!is_counting) return;
    place->count++;
    if (place->what == AT_END) end();
    if (!is_recording) return;
    if (place->what == AT_SITE) event(SITE, place->index);
    if (place->what == AT_SYSTEM_CALL) event(SYSTEM_CALL, 0);
}

static bool is_repeated_string(const uint8_t *bytes, size_t size) {
    bool repeats = false;
    for (; size && (*bytes == 0xf2 || *bytes == 0xf3 || *bytes == 0x66 || *bytes == 0x67); bytes++, size--)
        repeats |= (*bytes & 0xfe) == 0xf2;
    if (size && (*bytes & 0xf0) == 0x40) bytes++, size--;
    if (!repeats || size != 1) return false;
    return (*bytes >= 0x6c && *bytes <= 0x6f) || (*bytes >= 0xa4 && *bytes <= 0xa7) ||
           (*bytes >= 0xaa && *bytes <= 0xaf);
}

static bool writes_cr3(const uint8_t *bytes, size_t size) {
    if (size && *bytes == 0x41) bytes++, size--;
    return size == 3 && bytes[0] == 0x0f && bytes[1] == 0x22 && (bytes[2] >> 3 & 7) == 3;
}

static size_t first_at(uint64_t address) {
    size_t low = 0, high = place_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (by_address[middle]->address < address) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    for (size_t i = 0, count = qemu_plugin_tb_n_insns(tb); i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        size_t size = qemu_plugin_insn_size(insn);
        const uint8_t *bytes = qemu_plugin_insn_data(insn);
        bool repeats = is_repeated_string(bytes, size);
        if (address >> 62 == 3) {
            uint64_t packed = address;
            if ((address + size - 1) >> 6 != address >> 6) packed &= ~crosses_line;
            if (repeats) packed &= ~is_string;
            qemu_plugin_register_vcpu_insn_exec_cb(insn, kernel_executed, WITHOUT_REGISTERS, (void *)packed);
            for (size_t j = first_at(address); j < place_count && by_address[j]->address == address; j++)
                qemu_plugin_register_vcpu_insn_exec_cb(insn, came_by, WITHOUT_REGISTERS, by_address[j]);
            if (writes_cr3(bytes, size))
                qemu_plugin_register_vcpu_insn_exec_cb(insn, address_space_written, WITHOUT_REGISTERS, NULL);
            qemu_plugin_register_vcpu_mem_cb(insn, accessed, WITHOUT_REGISTERS, READS_AND_WRITES, NULL);
        } else if (repeats) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, user_string_executed, WITHOUT_REGISTERS, (void *)address);
        } else {
            qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD, &now.user, 1);
        }
    }
}

static void at_exit(qemu_plugin_id_t id, void *unused) {
    (void)id;
    (void)unused;
    if (!is_done) fail("the machine ended before the workload did", NULL);
}

static void add_place(uint64_t address, int what, uint32_t index) {
    places = realloc(places, (place_count + 1) * sizeof *places);
    if (!places) fail("no memory", NULL);
    places[place_count++] = (struct place){address, 0, what, index};
}

static void add_places(const char *path, int what) {
    FILE *list = fopen(path, "r");
    char line[64], *rest;
    if (!list) fail_to("cannot read", path);
    for (uint32_t index = 0; fgets(line, sizeof line, list); index++) {
        uint64_t address = strtoull(line, &rest, 16);
        if (rest == line || *rest != '\n') fail("not an address a line:", path);
        add_place(address, what, index);
        site_count += what == AT_SITE;
    }
    fclose(list);
}

static int compare(const void *left, const void *right) {
    uint64_t l = (*(struct place *const *)left)->address, r = (*(struct place *const *)right)->address;
    return l < r ? -1 : l > r;
}

static void put_number(uint64_t value, int bytes) {
    for (; bytes--; value >>= 8) block[block_used++] = value;
    if (block_used >= BLOCK) drain(false);
}

static void put_header(void) {
    size_t name = strlen(workload), length = 88 + name + 8 * site_count;
    memcpy(block, "kpermtrc", 8);
    block_used = 8;
    put_number(1, 4);
    put_number((length + 7) & ~7ull, 4);
    put_number(base, 8);
    put_number(image_bytes, 8);
    put_number(0, 8);
    put_number(skip, 8);
    for (size_t i = 0; i < sizeof build; i++) put_number(build[i], 1);
    put_number(name, 4);
    for (size_t i = 0; i < name; i++) put_number((uint8_t)workload[i], 1);
    put_number(site_count, 4);
    for (size_t i = 0; i < place_count; i++)
        if (places[i].what == AT_SITE) put_number(places[i].address, 8);
    put_number(0, -length & 7);
}

static bool take_option(const char *name, const char *value) {
    char *rest = "";
    if (!strcmp(name, "out")) out = strdup(value);
    else if (!strcmp(name, "counts")) counts = strdup(value);
    else if (!strcmp(name, "workload")) workload = strdup(value);
    else if (!strcmp(name, "sites")) add_places(value, AT_SITE);
    else if (!strcmp(name, "watch")) add_places(value, AT_WATCHED);
    else if (!strcmp(name, "base")) base = strtoull(value, &rest, 16);
    else if (!strcmp(name, "bytes")) image_bytes = strtoull(value, &rest, 10);
    else if (!strcmp(name, "skip")) skip = strtoull(value, &rest, 10);
    else if (!strcmp(name, "references")) most_references = strtoull(value, &rest, 10);
    else if (!strcmp(name, "syscall")) add_place(strtoull(value, &rest, 16), AT_SYSTEM_CALL, 0);
    else if (!strcmp(name, "begin")) add_place(strtoull(value, &rest, 16), AT_BEGIN, 0);
    else if (!strcmp(name, "end")) add_place(strtoull(value, &rest, 16), AT_END, 0);
    else if (!strcmp(name, "build")) {
        for (size_t i = 0; i < sizeof build && value[2 * i]; i++)
            if (sscanf(value + 2 * i, "%2hhx", &build[i]) != 1) return false;
    } else return false;
    return !*rest && *value;
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv) {
    if (!info->is_system || strcmp(info->target, "x86_64")) fail("only for qemu-system-x86_64", NULL);
    if (info->most_processors != 1) fail("one virtual processor only: give -smp 1", NULL);
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value) *value++ = 0;
        if (!value || !take_option(argv[i], value)) fail("unknown or malformed option:", argv[i]);
    }
    by_address = calloc(place_count, sizeof *by_address);
    bool has_begin = false, has_end = false;
    for (size_t i = 0; i < place_count; i++) {
        by_address[i] = &places[i];
        has_begin |= places[i].what == AT_BEGIN;
        has_end |= places[i].what == AT_END;
    }
    if (!out || !counts || !image_bytes || !has_end) fail("out=, counts=, base=, bytes= and end= must be given", NULL);
    qsort(by_address, place_count, sizeof *by_address, compare);
    if (asprintf(&partial, "%s.partial", out) < 0 || !(encoder = ZSTD_createCCtx())) fail("no memory", NULL);
    ZSTD_CCtx_setParameter(encoder, ZSTD_c_compressionLevel, COMPRESSION);
    ZSTD_CCtx_setParameter(encoder, ZSTD_c_checksumFlag, 1);
    if (!(file = fopen(partial, "wb"))) fail_to("cannot write", partial);
    put_header();
    if (!has_begin) begin();
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
