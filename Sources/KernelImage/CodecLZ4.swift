// SPDX-License-Identifier: MIT

// LZ4's legacy frame: a magic number, then blocks of 8 MiB that know nothing of
// one another, each behind its compressed size. Two things follow: a block that
// has not changed is copied and not compressed again, and a stream can be made as
// long as the one before. The kernel skips a magic number in a block's place, so
// repeated ones in front fill the room. That matters because the kernel decodes in
// place, with a margin that counts on where the stream ends.

import CCodecs
import Dispatch
import Glibc
import Synchronization

private let magic: UInt32 = 0x184c_2102
private let blockSize = 8 << 20

/// The blocks of a stream: where each lies in it, and how much it decodes to.
private func lz4Blocks(_ bytes: RawSpan, size: Int) throws(CodecError) -> [(stored: Range<Int>, size: Int)] {
    var blocks: [(stored: Range<Int>, size: Int)] = []
    var (position, decoded) = (0, 0)
    while position < bytes.byteCount {
        guard bytes.byteCount - position >= 4 else {
            throw CodecError("it ends inside a block's size", offset: position)
        }
        let stored = bytes.load(position, as: UInt32.self)
        guard position > 0 || stored == magic else { throw CodecError("it does not begin as LZ4", offset: 0) }
        position += 4
        if stored == magic { continue }
        guard Int(stored) <= min(bytes.byteCount - position, Int(LZ4_compressBound(CInt(blockSize)))) else {
            throw CodecError("a block of \(stored) bytes does not fit into the stream", offset: position)
        }
        let plain = min(blockSize, size - decoded)
        guard plain > 0, stored > 0 else {
            throw CodecError("it has blocks behind its \(size) bytes", offset: position)
        }
        blocks.append((position..<position + Int(stored), plain))
        position += Int(stored)
        decoded += plain
    }
    guard decoded == size else { throw CodecError("its blocks do not hold \(size) bytes, only up to \(decoded)") }
    return blocks
}

extension Codec {
    func decodeLZ4(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ size: Int
    ) throws(CodecError) {
        var next = 0
        for block in try lz4Blocks(unsafe RawSpan(_unsafeBytes: source), size: size) {
            let rebased = unsafe UnsafeMutableRawBufferPointer(rebasing: target[next..<next + block.size])
            let stored = unsafe UnsafeRawBufferPointer(rebasing: source[block.stored])
            unsafe try decodeBlock(stored, rebased, block.stored.lowerBound)
            next += block.size
        }
    }

    private func decodeBlock(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ offset: Int
    ) throws(CodecError) {
        let result = unsafe LZ4_decompress_safe(
            source.baseAddress?.assumingMemoryBound(to: CChar.self),
            target.baseAddress?.assumingMemoryBound(to: CChar.self), CInt(source.count), CInt(target.count))
        guard result == CInt(target.count) else {
            throw CodecError("a block does not decode to \(target.count) bytes", offset: offset)
        }
    }

    /// Levels that make up for what is added to a block that level 9, the one of the kernel's build, has packed. The
    /// highest takes half as long again.
    static var lz4Levels: ClosedRange<CInt> { CInt(LZ4HC_CLEVEL_MAX) - 1...CInt(LZ4HC_CLEVEL_MAX) }

    /// Blocks that are as they were are copied; the others are encoded.
    func encodeLZ4(
        _ bytes: [UInt8], level: CInt, atMost limit: Int, original: RawSpan
    ) throws(CodecError) -> [UInt8] {
        let old = try? lz4Blocks(original, size: bytes.count)
        var blocks: [[UInt8]] = []
        var changed: [(index: Int, plain: Range<Int>)] = []
        for start in stride(from: 0, to: bytes.count, by: blockSize) {
            let plain = start..<min(start + blockSize, bytes.count)
            if let stored = old?[blocks.count].stored, isBlock(original.extracting(stored), bytes, plain) {
                blocks.append(unsafe original.extracting(stored).withUnsafeBytes { unsafe Array($0) })
            } else {
                changed.append((blocks.count, plain))
                blocks.append([])
            }
        }
        let encoded = try encodedBlocks(bytes, changed.map(\.plain), level: level)
        for (block, place) in zip(encoded, changed) { blocks[place.index] = block }
        let total = 4 + blocks.reduce(0) { $0 + 4 + $1.count }
        var stream: [UInt8] = []
        stream.reserveCapacity(max(total, original.byteCount))
        for _ in 0..<max(1, 1 + (min(limit, original.byteCount) - total) / 4) { stream.append(little: magic) }
        for block in blocks {
            stream.append(little: UInt32(block.count))
            stream += block
        }
        return stream
    }

    private func isBlock(_ stored: RawSpan, _ bytes: [UInt8], _ plain: Range<Int>) -> Bool {
        var isSame = false
        _ = unsafe [UInt8](unsafeUninitializedCapacity: plain.count) { buffer, _ in
            let decoded = unsafe UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: plain.count)
            guard (unsafe stored.withUnsafeBytes { unsafe try? decodeBlock($0, decoded, 0) }) != nil else { return }
            isSame = unsafe bytes.withUnsafeBytes {
                unsafe memcmp($0.baseAddress! + plain.lowerBound, decoded.baseAddress!, plain.count) == 0
            }
        }
        return isSame
    }

    /// On all processors at once.
    private func encodedBlocks(
        _ bytes: [UInt8], _ plains: [Range<Int>], level: CInt
    ) throws(CodecError) -> [[UInt8]] {
        let results = Mutex([Int: Result<[UInt8], CodecError>]())
        DispatchQueue.concurrentPerform(iterations: plains.count) { number in
            let result = Result { () throws(CodecError) in try encodedBlock(bytes, plains[number], level: level) }
            results.withLock { $0[number] = result }
        }
        var blocks: [[UInt8]] = []
        for (_, result) in results.withLock({ $0 }).sorted(by: { $0.key < $1.key }) { blocks.append(try result.get()) }
        return blocks
    }

    private func encodedBlock(
        _ bytes: [UInt8], _ plain: Range<Int>, level: CInt
    ) throws(CodecError) -> [UInt8] {
        let room = LZ4_compressBound(CInt(plain.count))
        var written: CInt = 0
        let block = unsafe bytes.withUnsafeBytes { source in
            unsafe [UInt8](unsafeUninitializedCapacity: Int(room)) { buffer, count in
                written = unsafe LZ4_compress_HC(
                    source.baseAddress?.advanced(by: plain.lowerBound).assumingMemoryBound(to: CChar.self),
                    UnsafeMutableRawPointer(buffer.baseAddress)?.assumingMemoryBound(to: CChar.self),
                    CInt(plain.count), room, level)
                count = Int(written)
            }
        }
        guard written > 0 else { throw CodecError("the LZ4 encoder failed: is there too little memory?") }
        return block
    }
}

extension [UInt8] {
    mutating func append(little value: UInt32) {
        for shift in [0, 8, 16, 24] { append(UInt8(truncatingIfNeeded: value >> UInt32(shift))) }
    }
}
