// SPDX-License-Identifier: MIT

// How much a file takes where files are compressed, to compare two of them. For a
// kernel's payload Codec.swift has encoders that take much longer.

import CCodecs

/// The bytes of a zstd stream of a level; nil where there is no memory for it.
public func zstandardSize(of bytes: RawSpan, level: Int) -> Int? {
    let room = ZSTD_compressBound(bytes.byteCount)
    let stream = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 64)
    defer { unsafe stream.deallocate() }
    let size = unsafe bytes.withUnsafeBytes {
        unsafe ZSTD_compress(stream, room, $0.baseAddress, $0.count, CInt(level))
    }
    return ZSTD_isError(size) == 0 ? size : nil
}
