// SPDX-License-Identifier: MIT
#pragma once
#include <bzlib.h>
#include <lz4.h>
#include <lz4hc.h>
#include <lzma.h>
#include <zlib.h>
// Sequences are in no other part of the interface yet.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

// Macros that Swift cannot take.
static inline int kperm_inflate_init(z_stream *stream) { return inflateInit2(stream, 15 + 16); }
static inline int kperm_deflate_init(z_stream *stream, int memory) {
    return deflateInit2(stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, memory, Z_DEFAULT_STRATEGY);
}
static inline size_t kperm_zstd_keep_blocks_whole(ZSTD_CCtx *context) {
    return ZSTD_CCtx_setParameter(context, ZSTD_c_useBlockSplitter, ZSTD_ps_disable);
}
static inline size_t kperm_zstd_take_blocks_as_given(ZSTD_CCtx *context) {
    return ZSTD_CCtx_setParameter(context, ZSTD_c_blockDelimiters, ZSTD_sf_explicitBlockDelimiters);
}
