// SPDX-License-Identifier: MIT

// The trace format, version 1: what a kernel fetched, read and wrote, a cache
// line of 64 bytes at a time. A trace is one stream of bytes, little endian, in
// one or more zstd frames, or as it is.
//
// It begins with a header:
//
//      8 bytes   the magic, `kpermtrc`
//      u32       the version, 1
//      u32       how long the header is, this and the padding included
//      u64       the address of the image's first byte (`_text`) as the kernel ran, after KASLR
//      u64       the image's length in bytes
//      u64       how many references there are, 0 where the recorder did not know
//      u64       where the recorded window began, 0 for the start
//      32 bytes  the kernel's build id, zeros behind it; all zero: unknown
//      u32       the length of the workload's name; then the name, UTF-8
//      u32       the number of translation sites; then the address of each as it ran, u64
//      zeros up to a multiple of 8
//
// Records follow up to the end record. Each begins with a varint (LEB128: seven
// bits a byte, the lowest first, the high bit set on all bytes but the last). Its
// lowest two bits say the kind, the others are the payload:
//
//      0 fetch   payload: the line less the line of the fetch before, as zigzag; a second varint follows,
//                the instructions executed in this line until the next fetch record
//      1 read    payload: the line less the line of the read or write before, as zigzag
//      2 write   the same
//      3 event   payload: the type in its lowest three bits, a value above them:
//                0 a translation site was executed (its index in the header)
//                1 a system call began (0)
//                2 another processor goes on (its number)
//                3 the end, and nothing behind it (0)
//                4 another address space (0)
//                5 work that was not recorded (its number of instructions)
//
// A line is an address divided by 64; the lines before the first are 0. Zigzag
// makes small numbers of both signs small: 0, -1, 1, -2 become 0, 1, 2, 3.
// References that cannot change the state of a cache are left out: a fetch in the
// line of the fetch before, a read or write that repeats kind and line of the one
// before. Events 2 and 4 forget what was before: behind them it meets another
// state. An access across the end of a line is two records. Only what ran in
// kernel mode is recorded.

public import Addressing

/// What a trace says of itself.
public struct TraceHeader: Equatable, Sendable {
    public static let magic = Array("kpermtrc".utf8)
    public static let version: UInt32 = 1
    /// The most bytes that a header may have: more is taken for damage.
    public static let longest = 1 << 24

    public var virtualBase: VirtualAddress
    public var imageBytes: UInt64
    /// 0: unknown.
    public var referenceCount: UInt64 = 0
    public var windowStart: UInt64 = 0
    /// Up to 32 bytes without the zeros behind; empty: unknown.
    public var buildID: [UInt8] = []
    public var workload: String
    /// Translation sites, as they ran.
    public var sites: [VirtualAddress] = []

    public init(virtualBase: VirtualAddress, imageBytes: UInt64, workload: String) {
        self.virtualBase = virtualBase
        self.imageBytes = imageBytes
        self.workload = workload
    }

    /// Pages of the image, the last one perhaps not full.
    public var pageCount: Int { Int((imageBytes + UInt64(pageSize) - 1) / UInt64(pageSize)) }

    var bytes: [UInt8] {
        var out = Self.magic
        func put<T: FixedWidthInteger>(_ value: T) {
            for i in 0..<T.bitWidth / 8 { out.append(UInt8(truncatingIfNeeded: value >> T(8 * i))) }
        }
        let name = Array(workload.utf8)
        let length = (88 + name.count + 8 * sites.count + 7) & ~7
        put(Self.version)
        put(UInt32(length))
        put(virtualBase.rawValue)
        put(imageBytes)
        put(referenceCount)
        put(windowStart)
        out += buildID.prefix(32) + [UInt8](repeating: 0, count: max(0, 32 - buildID.count))
        put(UInt32(name.count))
        out += name
        put(UInt32(sites.count))
        for site in sites { put(site.rawValue) }
        return out + [UInt8](repeating: 0, count: length - out.count)
    }
}

/// What happened between two references.
public enum TraceEvent: Equatable, Sendable {
    case site(Int)
    case systemCall
    case processor(Int)
    case end
    case addressSpace
    /// Instructions that were executed and not recorded.
    case skipped(UInt64)
}

/// Why a trace cannot be read, written or used.
public struct TraceError: Error, Equatable, Sendable, CustomStringConvertible {
    public let file: String
    /// In bytes of the stream, uncompressed; nil where there is no place to name.
    public let offset: Int?
    public let what: String

    public init(_ file: String, at offset: Int? = nil, _ what: String) {
        self.file = file
        self.offset = offset
        self.what = what
    }

    public var description: String {
        "\(file): " + (offset.map { "at byte \($0) of the uncompressed trace: " } ?? "") + what
    }
}
