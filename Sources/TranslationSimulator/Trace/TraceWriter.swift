// SPDX-License-Identifier: MIT

// Writes a trace, for synthetic workloads.

public import Addressing
import CCodecs
import Glibc

/// A trace that is being written. It appears under its name when it is finished.
@safe public struct TraceWriter: ~Copyable {
    private static let blockBytes = 1 << 16

    private let path: String
    private let descriptor: CInt
    private let encoder: OpaquePointer?
    private let compressed: UnsafeMutableRawPointer
    private var block: [UInt8] = []
    private var fetchLine: UInt64 = 0
    private var dataLine: UInt64 = 0
    /// A fetch whose instructions are not all known yet.
    private var openFetch: (line: UInt64, instructions: UInt64)?
    private var lastData: (line: UInt64, isWrite: Bool)?
    private var isFinished = false

    private var partial: String { path + ".partial" }

    /// - Parameter isCompressed: in one zstd frame, or as it is.
    /// - Throws: `TraceError` when the file cannot be made.
    public init(_ path: String, _ header: TraceHeader, isCompressed: Bool = true) throws(TraceError) {
        self.path = path
        descriptor = unsafe open(path + ".partial", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        unsafe encoder = isCompressed ? ZSTD_createCCtx() : nil
        unsafe compressed = .allocate(byteCount: Self.blockBytes, alignment: 64)
        guard descriptor >= 0 else {
            throw TraceError(path, "cannot write: \(unsafe String(cString: strerror(errno)))")
        }
        block.reserveCapacity(Self.blockBytes + 64)
        block = header.bytes
        try drain()
    }

    deinit {
        close(descriptor)
        unsafe ZSTD_freeCCtx(encoder)
        unsafe compressed.deallocate()
        if !isFinished { unsafe _ = unlink(path + ".partial") }
    }

    /// Instructions executed in the line at an address.
    public mutating func fetch(_ address: VirtualAddress, instructions: UInt64 = 1) throws(TraceError) {
        let line = address.rawValue >> 6
        if let open = openFetch, open.line == line {
            openFetch = (line, open.instructions + instructions)
            return
        }
        try closeFetch()
        openFetch = (line, instructions)
    }

    public mutating func read(_ address: VirtualAddress) throws(TraceError) { try data(address, isWrite: false) }

    public mutating func write(_ address: VirtualAddress) throws(TraceError) { try data(address, isWrite: true) }

    public mutating func event(_ event: TraceEvent) throws(TraceError) {
        try closeFetch()
        let (type, value): (UInt64, UInt64) =
            switch event {
            case .site(let index): (0, UInt64(index))
            case .systemCall: (1, 0)
            case .processor(let number): (2, UInt64(number))
            case .end: (3, 0)
            case .addressSpace: (4, 0)
            case .skipped(let instructions): (5, instructions)
            }
        if type == 2 || type == 4 { lastData = nil }
        put((value << 3 | type) << 2 | 3)
        try drainIfFull()
    }

    /// Ends the trace and gives it its name.
    public mutating func finish() throws(TraceError) {
        try event(.end)
        try drain(isLast: true)
        guard unsafe rename(partial, path) == 0 else {
            throw TraceError(path, "cannot rename: \(unsafe String(cString: strerror(errno)))")
        }
        isFinished = true
    }

    /// The instructions of a line are told with its fetch, so what is read meanwhile comes behind it.
    private mutating func data(_ address: VirtualAddress, isWrite: Bool) throws(TraceError) {
        let line = address.rawValue >> 6
        if let last = lastData, last == (line, isWrite) { return }
        try closeFetch()
        lastData = (line, isWrite)
        put(Self.zigzag(line &- dataLine) << 2 | (isWrite ? 2 : 1))
        dataLine = line
        try drainIfFull()
    }

    private mutating func closeFetch() throws(TraceError) {
        guard let open = openFetch else { return }
        openFetch = nil
        put(Self.zigzag(open.line &- fetchLine) << 2)
        put(open.instructions)
        fetchLine = open.line
        try drainIfFull()
    }

    private static func zigzag(_ delta: UInt64) -> UInt64 { delta << 1 ^ (0 &- delta >> 63) }

    private mutating func put(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            block.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        block.append(UInt8(rest))
    }

    private mutating func drainIfFull() throws(TraceError) {
        if block.count >= Self.blockBytes { try drain() }
    }

    private mutating func drain(isLast: Bool = false) throws(TraceError) {
        let bytes = block
        block.removeAll(keepingCapacity: true)
        guard let encoder = unsafe encoder else { return unsafe try emit(bytes.span.bytes) }
        var input = unsafe ZSTD_inBuffer(src: nil, size: bytes.count, pos: 0)
        var isMore = true
        while isMore {
            var output = unsafe ZSTD_outBuffer(dst: compressed, size: Self.blockBytes, pos: 0)
            let left = unsafe bytes.withUnsafeBytes {
                unsafe input.src = $0.baseAddress
                return unsafe ZSTD_compressStream2(encoder, &output, &input, isLast ? ZSTD_e_end : ZSTD_e_continue)
            }
            guard ZSTD_isError(left) == 0 else {
                throw TraceError(path, "libzstd: \(unsafe String(cString: ZSTD_getErrorName(left)))")
            }
            try emit(unsafe RawSpan(_unsafeStart: compressed, byteCount: output.pos))
            isMore = isLast ? left != 0 : unsafe input.pos < input.size
        }
    }

    private func emit(_ bytes: RawSpan) throws(TraceError) {
        var done = 0
        while done < bytes.byteCount {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress! + done, $0.count - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw TraceError(path, "cannot write: \(unsafe String(cString: strerror(errno)))")
            }
            done += count
        }
    }
}
