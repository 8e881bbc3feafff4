// SPDX-License-Identifier: MIT

// The bytes of a trace, a window of 256 KB at a time, out of zstd frames or as
// they lie in the file. The window is followed by zeros, so whoever decodes a
// record may run over its end and look afterwards.

import CCodecs
import Glibc

/// A file read from its beginning to its end.
@safe struct TraceInput: ~Copyable {
    private static let windowBytes = 1 << 18
    private static let chunkBytes = 1 << 17
    /// No record is longer.
    static let slack = 64

    let path: String
    let fileBytes: Int
    private let descriptor: CInt
    private let decoder: OpaquePointer?
    private let chunk: UnsafeMutableRawPointer
    private var pending = 0..<0
    /// Of the frame that is being decoded there is more.
    private var isInFrame = false
    private var isAtEnd = false

    let window: UnsafeMutablePointer<UInt8>
    /// The bytes of the window that were not taken yet.
    var position = 0
    private(set) var limit = 0
    /// Where the window begins in the uncompressed stream.
    private(set) var base = 0
    /// Bytes of the file that were read.
    private(set) var bytesRead = 0

    init(_ path: String) throws(TraceError) {
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw TraceError(path, "cannot open: \(unsafe String(cString: strerror(errno)))")
        }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw TraceError(path, "not a regular file")
        }
        var magic = [UInt8](repeating: 0, count: 8)
        let count = unsafe pread(descriptor, &magic, 8, 0)
        let isPlain = count == 8 && magic == TraceHeader.magic
        guard isPlain || count >= 4 && (magic.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) || Self.isSkippable(magic)) else {
            close(descriptor)
            throw TraceError(path, "not a trace: it begins neither with kpermtrc nor like a zstd frame")
        }
        self.path = path
        self.descriptor = descriptor
        fileBytes = Int(status.st_size)
        unsafe decoder = isPlain ? nil : ZSTD_createDCtx()
        unsafe chunk = .allocate(byteCount: Self.chunkBytes, alignment: 64)
        unsafe window = .allocate(capacity: Self.windowBytes + Self.slack)
        unsafe window.initialize(repeating: 0, count: Self.windowBytes + Self.slack)
    }

    private static func isSkippable(_ magic: [UInt8]) -> Bool {
        magic[0] & 0xf0 == 0x50 && magic[1...].starts(with: [0x2a, 0x4d, 0x18])
    }

    deinit {
        close(descriptor)
        unsafe ZSTD_freeDCtx(decoder)
        unsafe chunk.deallocate()
        unsafe window.deallocate()
    }

    /// Where the next byte lies in the uncompressed stream.
    var offset: Int { base + position }

    /// Sees to it that the window holds at least `slack` bytes more, or all that there are.
    mutating func fill() throws(TraceError) {
        guard limit - position < Self.slack, !isAtEnd else { return }
        unsafe memmove(window, window + position, limit - position)
        base += position
        limit -= position
        position = 0
        while limit < Self.slack, !isAtEnd { try read() }
        unsafe (window + limit).update(repeating: 0, count: Self.slack)
    }

    private mutating func read() throws(TraceError) {
        if unsafe decoder == nil {
            let count = try unsafe take(window + limit, Self.windowBytes - limit)
            limit += count
            isAtEnd = count == 0
            return
        }
        if pending.isEmpty {
            pending = 0..<(unsafe try take(chunk.assumingMemoryBound(to: UInt8.self), Self.chunkBytes))
            if pending.isEmpty {
                guard !isInFrame else {
                    throw TraceError(path, at: base + limit, "the file ends within a zstd frame: it is truncated")
                }
                isAtEnd = true
                return
            }
        }
        var input = unsafe ZSTD_inBuffer(src: chunk, size: pending.upperBound, pos: pending.lowerBound)
        var output = unsafe ZSTD_outBuffer(dst: window, size: Self.windowBytes, pos: limit)
        let result = unsafe ZSTD_decompressStream(decoder, &output, &input)
        guard ZSTD_isError(result) == 0 else {
            let reason = unsafe String(cString: ZSTD_getErrorName(result))
            let place = unsafe bytesRead - pending.upperBound + input.pos
            throw TraceError(
                path, at: base + limit, "damaged: \(reason) (libzstd, near byte \(place) of the file)")
        }
        isInFrame = result != 0
        pending = unsafe input.pos..<pending.upperBound
        limit = unsafe output.pos
    }

    private mutating func take(_ target: UnsafeMutablePointer<UInt8>, _ room: Int) throws(TraceError) -> Int {
        while true {
            let count = unsafe Glibc.read(descriptor, target, room)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw TraceError(path, "cannot read: \(unsafe String(cString: strerror(errno)))")
            }
            bytesRead += count
            return count
        }
    }
}
