// SPDX-License-Identifier: MIT

// The codecs whose libraries know the whole format: one call from memory to
// memory each way, and what a library reports is made into one sentence here.

import Addressing
import CCodecs

extension Codec {
    /// How many high bits of the byte before are context when a byte is coded: the preset says 3, and 4, the most that
    /// the kernel takes, saves 12 KB of Debian's 8.1 MB. Longer searches and other alignments saved nothing there.
    static let literalContexts: [UInt32] = [3, 4]

    /// Refuses a stream that has not ended where its input and its output end.
    func check(ended: Bool, left: Int, produced: Int, _ size: Int, offset: Int) throws(CodecError) {
        if produced > size { throw CodecError("it decodes to more than \(size) bytes", offset: offset) }
        guard ended else { throw CodecError("it is damaged or cut off", offset: offset) }
        guard produced == size else {
            throw CodecError("it decodes to \(produced) bytes, not to \(size)", offset: offset)
        }
        guard left == 0 else { throw CodecError("\(left) bytes follow its end", offset: offset) }
    }

    func inflate(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ size: Int
    ) throws(CodecError) {
        var stream = unsafe z_stream()
        guard unsafe kperm_inflate_init(&stream) == Z_OK else { throw CodecError("zlib has too little memory") }
        defer { unsafe inflateEnd(&stream) }
        unsafe stream.next_in = UnsafeMutableRawPointer(mutating: source.baseAddress)?.assumingMemoryBound(
            to: UInt8.self)
        unsafe stream.avail_in = UInt32(source.count)
        unsafe stream.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe stream.avail_out = UInt32(target.count)
        let status = unsafe CCodecs.inflate(&stream, Z_FINISH)
        try check(
            ended: status == Z_STREAM_END, left: Int(unsafe stream.avail_in),
            produced: Int(unsafe stream.total_out), size, offset: Int(unsafe stream.total_in))
    }

    func deflated(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, memory: CInt
    ) -> Int? {
        var stream = unsafe z_stream()
        guard unsafe kperm_deflate_init(&stream, memory) == Z_OK else { return nil }
        defer { unsafe deflateEnd(&stream) }
        unsafe stream.next_in = UnsafeMutableRawPointer(mutating: source.baseAddress)?.assumingMemoryBound(
            to: UInt8.self)
        unsafe stream.avail_in = UInt32(source.count)
        unsafe stream.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe stream.avail_out = UInt32(target.count)
        return unsafe deflate(&stream, Z_FINISH) == Z_STREAM_END ? Int(stream.total_out) : nil
    }

    func decodeBzip2(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ size: Int
    ) throws(CodecError) {
        var stream = unsafe bz_stream()
        guard unsafe BZ2_bzDecompressInit(&stream, 0, 0) == BZ_OK else {
            throw CodecError("libbz2 has too little memory")
        }
        defer { unsafe BZ2_bzDecompressEnd(&stream) }
        unsafe stream.next_in = UnsafeMutableRawPointer(mutating: source.baseAddress)?.assumingMemoryBound(
            to: CChar.self)
        unsafe stream.avail_in = UInt32(source.count)
        unsafe stream.next_out = target.baseAddress?.assumingMemoryBound(to: CChar.self)
        unsafe stream.avail_out = UInt32(target.count)
        let status = unsafe BZ2_bzDecompress(&stream)
        let left = Int(unsafe stream.avail_in)
        try check(
            ended: status == BZ_STREAM_END, left: left, produced: target.count - Int(unsafe stream.avail_out), size,
            offset: source.count - left)
    }

    func encodedBzip2(_ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer) -> Int? {
        var count = UInt32(target.count)
        let status = unsafe BZ2_bzBuffToBuffCompress(
            target.baseAddress?.assumingMemoryBound(to: CChar.self), &count,
            UnsafeMutableRawPointer(mutating: source.baseAddress)?.assumingMemoryBound(to: CChar.self),
            UInt32(source.count), 9, 0, 0)
        return status == BZ_OK ? Int(count) : nil
    }

    func decodeLZMA(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ size: Int, alone: Bool
    ) throws(CodecError) {
        // A stream can ask for any dictionary, and none needs one larger than what it decodes to may be.
        let memory = UInt64(Codec.decodedLimit) * 2
        var stream = unsafe lzma_stream()
        defer { unsafe lzma_end(&stream) }
        let ready = unsafe alone ? lzma_alone_decoder(&stream, memory) : lzma_stream_decoder(&stream, memory, 0)
        guard ready == LZMA_OK else { throw CodecError("liblzma has too little memory") }
        let status = unsafe run(&stream, source, target)
        if status == LZMA_MEMLIMIT_ERROR { throw CodecError("it wants a dictionary of more than 2 GiB") }
        try check(
            ended: status == LZMA_STREAM_END, left: Int(unsafe stream.avail_in), produced: Int(unsafe stream.total_out),
            size, offset: Int(unsafe stream.total_in))
    }

    /// One block with a CRC-32, because the kernel's decoder knows no other check, and the filter for x86 code. The
    /// dictionary holds the whole input: the kernel's decoder has its output for a dictionary and does not mind.
    func encodedLZMA(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, literalContext: UInt32,
        alone: Bool
    ) -> Int? {
        let extreme: UInt32 = 1 << 31
        var options = unsafe lzma_options_lzma()
        guard unsafe lzma_lzma_preset(&options, 9 | extreme) == 0 else { return nil }
        unsafe options.dict_size = UInt32(max(1 << 20, source.count).roundedUp(to: 1 << 20) ?? 1 << 30)
        unsafe options.lc = literalContext
        var stream = unsafe lzma_stream()
        defer { unsafe lzma_end(&stream) }
        let (x86, lzma2) = (lzma_vli(0x04), lzma_vli(0x21))
        let ready = unsafe withUnsafeMutablePointer(to: &options) { options in
            if alone { return unsafe lzma_alone_encoder(&stream, options) }
            let filters = unsafe [
                lzma_filter(id: x86, options: nil), lzma_filter(id: lzma2, options: options),
                lzma_filter(id: .max, options: nil),
            ]
            return unsafe lzma_stream_encoder(&stream, filters, LZMA_CHECK_CRC32)
        }
        guard ready == LZMA_OK else { return nil }
        return unsafe run(&stream, source, target) == LZMA_STREAM_END ? Int(stream.total_out) : nil
    }

    private func run(
        _ stream: inout lzma_stream, _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer
    ) -> lzma_ret {
        unsafe stream.next_in = source.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe stream.avail_in = source.count
        unsafe stream.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe stream.avail_out = target.count
        var status = LZMA_OK
        while status == LZMA_OK { status = unsafe lzma_code(&stream, LZMA_FINISH) }
        return status
    }
}
