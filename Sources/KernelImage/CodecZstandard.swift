// SPDX-License-Identifier: MIT

// Zstandard. The kernel's build uses the highest level, which leaves little to
// choose better: other settings give up to 7 of 11,800 KB, or nothing, as it
// happens. What can be chosen better is where blocks end, for each has statistics
// of its own and the library only guesses. So when the highest level does not fit,
// its matches are kept, and each of its blocks of 128 KB is divided as comes out
// shortest, every division at places some 4 KB apart considered.

import CCodecs
import Dispatch
import Glibc
import Synchronization

extension Codec {
    func decodeZstandard(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ size: Int
    ) throws(CodecError) {
        let result = unsafe ZSTD_decompress(target.baseAddress, target.count, source.baseAddress, source.count)
        guard ZSTD_isError(result) == 0 else {
            throw CodecError("libzstd: \(unsafe String(cString: ZSTD_getErrorName(result)))")
        }
        try check(ended: true, left: 0, produced: result, size, offset: 0)
    }

    func encodedZstandard(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, checksum: Bool
    ) -> Int? {
        guard let context = unsafe ZSTD_createCCtx() else { return nil }
        defer { unsafe ZSTD_freeCCtx(context) }
        unsafe findAllMatches(context)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum ? 1 : 0)
        let result = unsafe ZSTD_compress2(context, target.baseAddress, target.count, source.baseAddress, source.count)
        return ZSTD_isError(result) == 0 ? result : nil
    }

    /// The same matches, in blocks that end where it was tried.
    func encodedZstandardByTrial(
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, bytes: [UInt8], checksum: Bool
    ) -> Int? {
        guard let found = unsafe sequences(source), let divided = Blocks(found, of: bytes).divided(),
            let encoder = SequenceEncoder(checksum: checksum)
        else { return nil }
        return unsafe encoder.encode(divided.span, source, into: target)
    }

    /// The highest level, and what it does not reach for: matches far away, and more and longer ones at each place. It
    /// chooses a window as large as the input.
    private func findAllMatches(_ context: OpaquePointer) {
        for (parameter, value) in [
            (ZSTD_c_compressionLevel, ZSTD_maxCLevel()), (ZSTD_c_enableLongDistanceMatching, 1),
            (ZSTD_c_searchLog, 12), (ZSTD_c_targetLength, 1 << 12),
        ] { unsafe ZSTD_CCtx_setParameter(context, parameter, value) }
    }

    private func sequences(_ source: UnsafeRawBufferPointer) -> [ZSTD_Sequence]? {
        guard let context = unsafe ZSTD_createCCtx() else { return nil }
        defer { unsafe ZSTD_freeCCtx(context) }
        unsafe findAllMatches(context)
        unsafe kperm_zstd_keep_blocks_whole(context)
        let room = source.count / 3 + source.count / 1024 + 16
        var result = 0
        var found = unsafe [ZSTD_Sequence](unsafeUninitializedCapacity: room) { buffer, count in
            result = unsafe ZSTD_generateSequences(context, buffer.baseAddress, room, source.baseAddress, source.count)
            count = ZSTD_isError(result) == 0 ? result : 0
        }
        guard ZSTD_isError(result) == 0 else { return nil }
        // Of a last block of up to six bytes, in which there is nothing to match, the library tells nothing.
        let rest = found.reduce(source.count) { $0 - $1.count }
        if rest > 0 { found.append(ZSTD_Sequence(offset: 0, litLength: UInt32(rest), matchLength: 0, rep: 0)) }
        return found
    }
}

/// A frame as libzstd describes one: literals and a match, again and again, and at the end of each block one that
/// matches nothing.
private struct Blocks: Sendable {
    private struct Block {
        /// Without the one at the end.
        let sequences: Range<Int>
        let start: Int
        let count: Int
    }

    private static let grain = 4096

    private let sequences: [ZSTD_Sequence]
    private let bytes: [UInt8]
    private let blocks: [Block]

    init(_ sequences: [ZSTD_Sequence], of bytes: [UInt8]) {
        var blocks: [Block] = []
        var (first, start, count) = (0, 0, 0)
        for (i, sequence) in sequences.enumerated() {
            count += sequence.count
            guard sequence.isEnd else { continue }
            blocks.append(Block(sequences: first..<i, start: start, count: count))
            (first, start, count) = (i + 1, start + count, 0)
        }
        self.sequences = sequences
        self.bytes = bytes
        self.blocks = blocks
    }

    /// The same in more blocks; nil when the library fails. On all processors at once.
    func divided() -> [ZSTD_Sequence]? {
        let results = Mutex([Int: [Int]]())
        let workers = max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN)))
        DispatchQueue.concurrentPerform(iterations: workers) { worker in
            guard let encoder = SequenceEncoder(checksum: false) else { return }
            for i in stride(from: worker, to: blocks.count, by: workers) {
                guard let ends = bestEnds(blocks[i], encoder) else { return }
                results.withLock { $0[i] = ends }
            }
        }
        let ends = results.withLock { $0 }
        guard ends.count == blocks.count else { return nil }
        var divided: [ZSTD_Sequence] = []
        for (i, block) in blocks.enumerated() {
            var next = block.sequences.lowerBound
            for end in ends[i]! {
                divided += sequences[next..<end]
                divided.append(ZSTD_Sequence())
                next = end
            }
            divided += sequences[next...block.sequences.upperBound]
        }
        return divided
    }

    /// Before which sequences of a block another block should begin: the shortest way from its start to each place is
    /// the shortest over all last pieces.
    private func bestEnds(_ block: Block, _ encoder: borrowing SequenceEncoder) -> [Int]? {
        var places = [(sequence: block.sequences.lowerBound, offset: 0)]
        var offset = 0
        for i in block.sequences.dropLast() {
            offset += sequences[i].count
            if offset - places[places.count - 1].offset >= Self.grain { places.append((i + 1, offset)) }
        }
        places.append((block.sequences.upperBound, block.count))
        var best = [(size: 0, last: 0)]
        for end in places.indices.dropFirst() {
            var shortest = (size: Int.max, last: 0)
            for last in 0..<end {
                var piece = Array(sequences[places[last].sequence..<places[end].sequence])
                let isWhole = end == places.count - 1
                piece.append(isWhole ? sequences[block.sequences.upperBound] : ZSTD_Sequence())
                let range = block.start + places[last].offset..<block.start + places[end].offset
                guard let size = encoder.size(piece, bytes, range) else { return nil }
                if best[last].size + size < shortest.size { shortest = (best[last].size + size, last) }
            }
            best.append(shortest)
        }
        var ends: [Int] = []
        var last = best[places.count - 1].last
        while last > 0 {
            ends.append(places[last].sequence)
            last = best[last].last
        }
        return ends.reversed()
    }
}

/// Codes sequences, in blocks as they are.
@safe private struct SequenceEncoder: ~Copyable {
    /// A frame's header and block header, which each trial has: counted less than they take, divisions would be too many.
    private static let overhead = 6
    private let context: OpaquePointer
    private let scratch: UnsafeMutableRawBufferPointer

    init?(checksum: Bool) {
        guard let context = unsafe ZSTD_createCCtx() else { return nil }
        unsafe self.context = context
        unsafe scratch = .allocate(byteCount: ZSTD_compressBound(1 << 17) + 64, alignment: 16)
        unsafe kperm_zstd_take_blocks_as_given(context)
        unsafe kperm_zstd_keep_blocks_whole(context)
        // Nothing is searched, so the tables for it can be small.
        for (parameter, value) in [
            (ZSTD_c_compressionLevel, ZSTD_maxCLevel()), (ZSTD_c_hashLog, 6), (ZSTD_c_chainLog, 6),
            (ZSTD_c_checksumFlag, checksum ? 1 : 0),
        ] { unsafe ZSTD_CCtx_setParameter(context, parameter, value) }
    }

    deinit {
        unsafe ZSTD_freeCCtx(context)
        unsafe scratch.deallocate()
    }

    func encode(
        _ sequences: Span<ZSTD_Sequence>, _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) -> Int? {
        let result = unsafe sequences.withUnsafeBufferPointer { sequences in
            unsafe ZSTD_compressSequences(
                context, target.baseAddress, target.count, sequences.baseAddress, sequences.count, source.baseAddress,
                source.count)
        }
        return ZSTD_isError(result) == 0 ? result : nil
    }

    /// How many bytes a block takes on its own.
    func size(_ sequences: [ZSTD_Sequence], _ bytes: [UInt8], _ range: Range<Int>) -> Int? {
        unsafe bytes.withUnsafeBytes { bytes in
            let source = unsafe UnsafeRawBufferPointer(rebasing: bytes[range])
            return unsafe encode(sequences.span, source, into: scratch).map { $0 - Self.overhead }
        }
    }
}

extension ZSTD_Sequence {
    fileprivate var count: Int { Int(litLength) + Int(matchLength) }
    fileprivate var isEnd: Bool { offset == 0 && matchLength == 0 }
}
