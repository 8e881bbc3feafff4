// SPDX-License-Identifier: MIT

// Prints a trace as text, a record a line: `fetch ADDRESS INSTRUCTIONS`, `read ADDRESS`, `write ADDRESS`, `site
// ADDRESS` and so on, where the address of a line is its first byte's. For tests and for looking; what reads traces to
// work with them is the simulator (Sources/TranslationSimulator/Trace, where the format is written down).

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static const char *path;
static FILE *file;
static ZSTD_DStream *decoder;
static uint8_t compressed[1 << 16], plain[1 << 16];
static ZSTD_inBuffer input = {compressed, 0, 0};
static size_t used, filled;

_Noreturn static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", path, what);
    exit(2);
}

static uint8_t next(void) {
    while (used == filled) {
        if (input.pos == input.size) {
            input.size = fread(compressed, 1, sizeof compressed, file);
            input.pos = 0;
            if (!input.size) fail("truncated: it ends without an end record");
        }
        ZSTD_outBuffer output = {plain, sizeof plain, 0};
        if (ZSTD_isError(ZSTD_decompressStream(decoder, &output, &input))) fail("not zstd, or damaged");
        used = 0;
        filled = output.pos;
    }
    return plain[used++];
}

static uint64_t number(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)next() << 8 * i;
    return value;
}

static uint64_t varint(void) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t byte = next();
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    fail("damaged: a number of more than 64 bits");
}

static uint64_t delta(uint64_t zigzag) { return zigzag >> 1 ^ -(zigzag & 1); }

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: show TRACE\n"), 2;
    path = argv[1];
    if (!(file = fopen(path, "rb"))) fail("cannot be read");
    if (!(decoder = ZSTD_createDStream())) fail("no memory");

    if (number(8) != 0x6372746d7265706b) fail("not a trace: no kpermtrc");
    if (number(4) != 1) fail("not of version 1");
    uint64_t length = number(4), base = number(8), bytes = number(8);
    number(8);
    uint64_t start = number(8);
    printf("image %" PRIx64 " %" PRIu64 "\nstart %" PRIu64 "\nbuild ", base, bytes, start);
    for (int i = 0; i < 32; i++) printf("%02x", next());
    uint64_t name = number(4);
    printf("\nworkload ");
    for (uint64_t i = 0; i < name; i++) putchar(next());
    uint64_t site_count = number(4);
    if ((88 + name + 8 * site_count + 7) / 8 * 8 != length) fail("damaged: the header is not as long as it says");
    uint64_t *sites = calloc(site_count + 1, sizeof *sites);
    for (uint64_t i = 0; i < site_count; i++) sites[i] = number(8);
    number(length - 88 - name - 8 * site_count);
    printf("\nsites %" PRIu64 "\n", site_count);

    for (uint64_t lines[2] = {0, 0};;) {
        uint64_t record = varint(), payload = record >> 2;
        switch (record & 3) {
            case 0:
                lines[0] += delta(payload);
                printf("fetch %" PRIx64, lines[0] << 6);
                printf(" %" PRIu64 "\n", varint());
                break;
            case 1:
            case 2:
                lines[1] += delta(payload);
                printf("%s %" PRIx64 "\n", record & 1 ? "read" : "write", lines[1] << 6);
                break;
            default:
                switch (payload & 7) {
                    case 0:
                        if (payload >> 3 >= site_count) fail("damaged: a site that the header does not list");
                        printf("site %" PRIx64 "\n", sites[payload >> 3]);
                        break;
                    case 1: printf("syscall\n"); break;
                    case 2: printf("processor %" PRIu64 "\n", payload >> 3); break;
                    case 3: return printf("end\n"), 0;
                    case 4: printf("space\n"); break;
                    case 5: printf("skipped %" PRIu64 "\n", payload >> 3); break;
                    default: fail("damaged: an event that version 1 does not have");
                }
        }
    }
}
