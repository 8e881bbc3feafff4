// SPDX-License-Identifier: MIT
#pragma once
#include <bzlib.h>
#include <lz4.h>
#include <lz4hc.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

// Macros that Swift cannot take.
static inline int kperm_inflate_init(z_stream *stream) { return inflateInit2(stream, 15 + 16); }
static inline int kperm_deflate_init(z_stream *stream, int memory) {
    return deflateInit2(stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, memory, Z_DEFAULT_STRATEGY);
}
