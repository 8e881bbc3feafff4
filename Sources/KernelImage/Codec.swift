// SPDX-License-Identifier: MIT

// What a kernel's payload can be compressed with, told apart by its first bytes.
// The kernel decodes in one call from memory to memory, so decoding and encoding
// here are whole buffers too, and what is encoded keeps to what the kernel's own
// small decoders take.

/// A compression that the x86 kernel's build knows.
public enum Codec: String, Sendable, CaseIterable {
    case gzip, bzip2
    /// The old `.lzma` format.
    case lzma
    case xz
    /// The legacy frame: independent blocks of 8 MiB.
    case lz4
    case zstd, lzo

    /// The most bytes that kperm decodes.
    public static let decodedLimit = 1 << 30

    private var magic: [UInt8] {
        switch self {
        case .gzip: [0x1f, 0x8b, 8]
        case .bzip2: Array("BZh".utf8)
        case .lzma: [0x5d, 0, 0]
        case .xz: [0xfd] + Array("7zXZ".utf8) + [0]
        case .lz4: [0x02, 0x21, 0x4c, 0x18]
        case .zstd: [0x28, 0xb5, 0x2f, 0xfd]
        case .lzo: [0x89] + Array("LZO".utf8) + [0]
        }
    }

    /// The codec whose streams begin like `bytes`; nil when there is none.
    public init?(detecting bytes: RawSpan) {
        for codec in Self.allCases {
            let magic = codec.magic
            guard bytes.byteCount >= magic.count,
                magic.indices.allSatisfy({ bytes.load($0, as: UInt8.self) == magic[$0] })
            else { continue }
            self = codec
            return
        }
        return nil
    }

    /// How many bytes the kernel's build puts behind a stream to say its decoded size: a gzip stream ends with it anyway.
    public var sizeTrailer: Int { self == .gzip ? 0 : 4 }

    /// Decodes one whole stream.
    ///
    /// - Parameters:
    ///   - bytes: the stream without its size trailer.
    ///   - size: what it must decode to, in bytes.
    /// - Throws: `CodecError` when the stream is damaged, decodes to any other size or does not fill `bytes`.
    public func decode(_ bytes: RawSpan, size: Int) throws(CodecError) -> [UInt8] {
        guard size > 0, size <= Self.decodedLimit else {
            throw CodecError("it claims to hold \(size) bytes, and kperm decodes 1 to \(Self.decodedLimit)")
        }
        var complaint: CodecError?
        // One byte of room more than wanted shows a stream that is longer than it says.
        let decoded = unsafe bytes.withUnsafeBytes { source in
            unsafe [UInt8](unsafeUninitializedCapacity: size + 1) { buffer, count in
                let target = unsafe UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: size + 1)
                do throws(CodecError) {
                    switch self {
                    case .gzip: unsafe try inflate(source, target, size)
                    case .bzip2: unsafe try decodeBzip2(source, target, size)
                    case .lzma, .xz: unsafe try decodeLZMA(source, target, size, alone: self == .lzma)
                    case .lz4: unsafe try decodeLZ4(source, target, size)
                    case .zstd: unsafe try decodeZstandard(source, target, size)
                    case .lzo: throw CodecError("kperm cannot decode LZO: build the kernel with another compression")
                    }
                    count = size
                } catch { complaint = error }
            }
        }
        if let complaint { throw complaint }
        return decoded
    }

    /// Encodes for the kernel's decoder, trying settings until the result fits. What comes out was decoded again and is
    /// the same: a stream that an encoder got wrong would show in a kernel that does not boot, or not at once.
    ///
    /// - Parameters:
    ///   - limit: the most bytes that the stream may take, without a size trailer.
    ///   - original: a stream of the same codec; what has not changed since is taken from it where the format allows.
    /// - Throws: `CodecError`, which says how many bytes too long the shortest stream is.
    public func encode(_ bytes: [UInt8], atMost limit: Int, original: RawSpan) throws(CodecError) -> [UInt8] {
        let stream = try shortened(bytes, atMost: limit, original: original)
        try prove(stream, is: bytes)
        return stream
    }

    /// Refuses a stream that does not decode to these bytes.
    func prove(_ stream: [UInt8], is bytes: [UInt8]) throws(CodecError) {
        let decoded: [UInt8]
        do { decoded = try decode(unsafe stream.span.bytes, size: bytes.count) } catch {
            throw CodecError("what the \(self) encoder gave does not decode: \(error)", offset: error.offset)
        }
        guard decoded == bytes else {
            throw CodecError("what the \(self) encoder gave decodes to something else than went in")
        }
    }

    private func shortened(_ bytes: [UInt8], atMost limit: Int, original: RawSpan) throws(CodecError) -> [UInt8] {
        var shortest: Int?
        func fits(_ stream: [UInt8]) -> Bool {
            shortest = min(shortest ?? .max, stream.count)
            return stream.count <= limit
        }
        switch self {
        case .lz4:
            for level in Self.lz4Levels {
                let stream = try encodeLZ4(bytes, level: level, atMost: limit, original: original)
                if fits(stream) { return stream }
            }
        case .gzip:
            for memory: CInt in [9, 8] {
                let stream = unsafe try encoded(bytes) { unsafe deflated($0, $1, memory: memory) }
                if fits(stream) { return stream }
            }
        case .bzip2:
            let stream = unsafe try encoded(bytes) { unsafe encodedBzip2($0, $1) }
            if fits(stream) { return stream }
        case .lzma, .xz:
            for context in Self.literalContexts {
                let stream = unsafe try encoded(bytes) {
                    unsafe encodedLZMA($0, $1, literalContext: context, alone: self == .lzma)
                }
                if fits(stream) { return stream }
            }
        case .zstd:
            let checked = original.byteCount <= 4 || original.load(4, as: UInt8.self) & 4 != 0
            var stream = unsafe try encoded(bytes) { unsafe encodedZstandard($0, $1, checksum: checked) }
            if fits(stream) { return stream }
            stream = unsafe try encoded(bytes) {
                unsafe encodedZstandardByTrial($0, $1, bytes: bytes, checksum: checked)
            }
            if fits(stream) { return stream }
        case .lzo: throw CodecError("kperm cannot encode LZO: build the kernel with another compression")
        }
        throw CodecError(
            "compressed again with \(self) it is \((shortest ?? 0) - limit) bytes longer than the \(limit) there is room for"
        )
    }

    /// Runs an encoder that gives the bytes it wrote, or nil when it failed.
    private func encoded(
        _ bytes: [UInt8], by encode: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Int?
    ) throws(CodecError) -> [UInt8] {
        // More than any of the formats adds to what cannot be compressed.
        let room = bytes.count + bytes.count / 50 + 4096
        var written: Int?
        let stream = unsafe bytes.withUnsafeBytes { source in
            unsafe [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
                written = unsafe encode(source, UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: room))
                count = written ?? 0
            }
        }
        guard written != nil else { throw CodecError("the \(self) encoder failed: is there too little memory?") }
        return stream
    }
}

/// Why a stream cannot be decoded, or not be made.
public struct CodecError: Error, Equatable, Sendable, CustomStringConvertible {
    public let message: String
    /// Where in the stream, in bytes, when that is known.
    public let offset: Int?

    public init(_ message: String, offset: Int? = nil) {
        self.message = message
        self.offset = offset
    }

    public var description: String { message }
}
