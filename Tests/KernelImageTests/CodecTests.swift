// SPDX-License-Identifier: MIT

// Each codec: what the tools of the kernel's build write is decoded, what is
// encoded decodes to the same, and damage is refused.

import TestSupport
import Testing

@testable import KernelImage

/// LZO cannot be decoded.
let usableCodecs = Codec.allCases.filter { $0 != .lzo }

extension Codec {
    func decode(_ bytes: [UInt8], size: Int) throws(CodecError) -> [UInt8] {
        try decode(unsafe bytes.span.bytes, size: size)
    }

    func encode(_ bytes: [UInt8], atMost limit: Int = .max, original: [UInt8] = []) throws(CodecError) -> [UInt8] {
        try encode(bytes, atMost: limit, original: unsafe original.span.bytes)
    }
}

/// Bytes that compress somewhat, the same on every run.
func someBytes(_ count: Int) -> [UInt8] {
    var state: UInt32 = 1
    return (0..<count).map { index in
        state = state &* 1_664_525 &+ 1_013_904_223
        return index & 64 == 0 ? UInt8(index >> 7 & 255) : UInt8(state >> 24)
    }
}

struct CodecTests {
    private let text = Array("kperm kperm kperm kperm kperm\n".utf8)

    /// The text as `gzip -n9`, `bzip2 -9`, `lzma -9`, `xz --check=crc32 --x86 --lzma2=dict=32MiB`, `lz4 -l -9` and
    /// `zstd -22 --ultra` write it.
    static let streams: [(Codec, String)] = [
        (.gzip, "1f8b0800000000000203cb2e482dca55c8c64e720100e802610e1e000000"),
        (
            .bzip2,
            "425a683931415926535951a128c8000007518000104000020a50002000310c008a069a9c981912244f17724538509051a128c8"
        ),
        (.lzma, "5d00000004ffffffffffffffff00359c08cee4faa2d4459611f5a7ffffe6e58000"),
        (
            .xz,
            "fd377a585a0000016922de360201040021011a0001c980b3e0001d000e5d00359c08cee4faa2d44595dc900000000000e802610e"
                + "0001261e6c0b57199042990d010000000001595a"
        ),
        (.lz4, "02214c18100000006f6b7065726d20060000507065726d0a"),
        (.zstd, "28b52ffd04886d0000386b7065726d200a0100a94b11ff2fd1ca"),
    ]

    private func stream(_ hex: String) -> [UInt8] {
        let digits = Array(hex)
        return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...$0 + 1]), radix: 16) }
    }

    @Test(arguments: streams)
    func decodesWhatToolsWrite(codec: Codec, hex: String) throws {
        let stream = stream(hex)
        #expect(Codec(detecting: unsafe stream.span.bytes) == codec)
        #expect(try codec.decode(stream, size: text.count) == text)
    }

    @Test(arguments: streams)
    func refusesEveryPrefixAndEveryOtherSize(codec: Codec, hex: String) {
        let stream = stream(hex)
        for length in 0..<stream.count {
            #expect(throws: CodecError.self, "\(length) bytes") {
                try codec.decode(Array(stream[..<length]), size: text.count)
            }
        }
        for size in [-1, 0, 1, text.count - 1, text.count + 1, Codec.decodedLimit + 1, .max] {
            #expect(throws: CodecError.self, "size \(size)") { try codec.decode(stream, size: size) }
        }
        #expect(throws: CodecError.self) { try codec.decode(stream + [0], size: text.count) }
    }

    /// Only LZ4 and the old .lzma have no checksum.
    @Test(arguments: streams)
    func survivesEveryDamagedByte(codec: Codec, hex: String) {
        let stream = stream(hex)
        for index in stream.indices {
            var damaged = stream
            damaged[index] ^= 0x55
            let decoded = try? codec.decode(damaged, size: text.count)
            #expect(decoded == nil || decoded == text || codec == .lz4 || codec == .lzma, "byte \(index)")
        }
    }

    @Test(arguments: usableCodecs, [1, 5000, 200_000])
    func decodesWhatItEncodes(codec: Codec, size: Int) throws {
        let bytes = someBytes(size)
        let stream = try codec.encode(bytes)
        #expect(Codec(detecting: unsafe stream.span.bytes) == codec)
        #expect(try codec.decode(stream, size: size) == bytes)
    }

    @Test(arguments: usableCodecs)
    func saysByHowManyBytesItMisses(codec: Codec) throws {
        let bytes = someBytes(5000)
        do {
            _ = try codec.encode(bytes, atMost: 1000)
            Issue.record("5000 bytes of noise went into 1000")
        } catch {
            let pattern = /compressed again with (\w+) it is (\d+) bytes longer than the 1000 there is room for/
            let match = try #require(error.message.wholeMatch(of: pattern))
            let excess = try #require(Int(match.2))
            #expect(match.1 == codec.rawValue)
            #expect(try codec.encode(bytes, atMost: 1000 + excess).count <= 1000 + excess)
            #expect(throws: CodecError.self) { try codec.encode(bytes, atMost: 999 + excess) }
        }
    }

    /// Letters of one alphabet, then of another, at lengths that no rule of thumb knows.
    @Test func zstandardBlocksEndByTrial() throws {
        let noise = someBytes(400_000)
        let bytes = noise.indices.map { noise[$0] & 15 | ($0 / 9000 % 5 == 0 ? 0x40 : 0x80) }
        let usual = try Codec.zstd.encode(bytes)
        let shorter = try Codec.zstd.encode(bytes, atMost: usual.count - 1)
        #expect(shorter.count < usual.count)
        #expect(try Codec.zstd.decode(shorter, size: bytes.count) == bytes)
    }

    /// A last block of so few bytes that there is nothing to match in it.
    @Test(arguments: 1...8) func zstandardBlocksByTrialHoldTheRest(rest: Int) throws {
        let bytes = someBytes((1 << 17) + rest)
        let room = bytes.count + 4096
        var written: Int?
        let stream = unsafe bytes.withUnsafeBytes { source in
            unsafe [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
                let target = unsafe UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: room)
                written = unsafe Codec.zstd.encodedZstandardByTrial(source, target, bytes: bytes, checksum: true)
                count = written ?? 0
            }
        }
        #expect(written != nil)
        #expect(try Codec.zstd.decode(stream, size: bytes.count) == bytes)
    }

    @Test(arguments: usableCodecs)
    func refusesWhatAnEncoderGotWrong(codec: Codec) throws {
        let bytes = someBytes(5000)
        let stream = try codec.encode(bytes)
        try codec.prove(stream, is: bytes)
        for place in [0, 2500, 4999] {
            var other = bytes
            other[place] ^= 1
            #expect(
                throws: CodecError("what the \(codec) encoder gave decodes to something else than went in"),
                "byte \(place)"
            ) { try codec.prove(stream, is: other) }
        }
        #expect(throws: CodecError.self) { try codec.prove(Array(stream.dropLast()), is: bytes) }
    }

    @Test func refusesLZO() {
        let stream: [UInt8] = [0x89, 0x4c, 0x5a, 0x4f, 0, 0x0d, 0x0a, 0x1a, 0x0a]
        #expect(Codec(detecting: unsafe stream.span.bytes) == .lzo)
        #expect(throws: CodecError("kperm cannot decode LZO: build the kernel with another compression")) {
            try Codec.lzo.decode(stream, size: 100)
        }
        #expect(throws: CodecError.self) { try Codec.lzo.encode(stream) }
    }

    @Test(arguments: [[], [0x1f], [0x1f, 0x8c, 8], [0xfd, 0x37, 0x7a], Array("\u{7f}ELF".utf8)] as [[UInt8]])
    func detectsNothing(bytes: [UInt8]) { #expect(Codec(detecting: unsafe bytes.span.bytes) == nil) }

    /// A dictionary of 4 GiB, which a small stream can ask for.
    @Test func refusesAbsurdDictionary() {
        var lzma = stream(Self.streams[2].1)
        lzma.replaceSubrange(1..<5, with: [255, 255, 255, 255])
        #expect(throws: CodecError("it wants a dictionary of more than 2 GiB")) {
            try Codec.lzma.decode(lzma, size: text.count)
        }
    }
}

/// Three blocks, the last not full.
struct CodecLZ4Tests {
    private let block = 8 << 20
    private static let bytes = [[UInt8]](repeating: someBytes(1 << 20), count: 17).flatMap { $0 }
    private var bytes: [UInt8] { Self.bytes }

    /// Where the second block's bytes begin, and how many they are.
    private func secondBlock(_ stream: [UInt8]) -> Range<Int> {
        func word(_ at: Int) -> Int { (0..<4).reduce(0) { $0 | Int(stream[at + $1]) << (8 * $1) } }
        var start = 0
        while word(start) == 0x184c_2102 { start += 4 }
        start += 4 + word(start)
        return start + 4..<start + 4 + word(start)
    }

    @Test func keepsWhatHasNotChanged() throws {
        let original = try Codec.lz4.encode(bytes)
        var changed = bytes
        for i in 0..<4096 { changed[100_000 + i] = 0 }
        let stream = try Codec.lz4.encode(changed, atMost: original.count, original: original)
        #expect(stream[secondBlock(stream)] == original[secondBlock(original)])
        #expect(try Codec.lz4.decode(stream, size: bytes.count) == changed)
        // As long as before, but for what magic numbers cannot fill; they stand in front.
        #expect(original.count - stream.count < 4)
        #expect(stream.suffix(1000) == original.suffix(1000))
        #expect(try Codec.lz4.encode(bytes, atMost: original.count, original: stream).count <= original.count)
    }

    @Test func triesHarderWhenItMust() throws {
        var random = TestRandom()
        // Two letters: more places to look for a match than the usual level visits.
        let text = (0..<200_000).map { _ in UInt8.random(in: 0...1, using: &random) }
        let usual = try Codec.lz4.encode(text)
        let shorter = try Codec.lz4.encode(text, atMost: usual.count - 1)
        #expect(shorter.count < usual.count)
        #expect(try Codec.lz4.decode(shorter, size: text.count) == text)
    }

    @Test func unreadableOriginalDoesNotMatter() throws {
        let original = [UInt8](repeating: 1, count: 100)
        #expect(try Codec.lz4.decode(Codec.lz4.encode(bytes, original: original), size: bytes.count) == bytes)
    }

    @Test func refusesBlocksThatDoNotAddUp() throws {
        let stream = try Codec.lz4.encode(someBytes(5000))
        #expect(throws: CodecError("it has blocks behind its 5000 bytes", offset: stream.count + 4)) {
            try Codec.lz4.decode(stream + [1, 0, 0, 0, 0], size: 5000)
        }
        #expect(throws: CodecError("it ends inside a block's size", offset: stream.count)) {
            try Codec.lz4.decode(stream + [1, 0], size: 5000)
        }
        #expect(throws: CodecError("its blocks do not hold 9000000 bytes, only up to 8388608")) {
            try Codec.lz4.decode(stream, size: 9_000_000)
        }
        var long = stream
        long[7] = 0x7f
        #expect(throws: CodecError.self) { try Codec.lz4.decode(long, size: 5000) }
    }
}
