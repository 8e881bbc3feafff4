// SPDX-License-Identifier: MIT

// Reads a trace a batch at a time, so that memory does not grow with the trace.

public import Addressing

/// References in the order they happened, up to an event that those who follow them must see.
@safe public struct TraceBatch: ~Copyable {
    public static let capacity = 8192

    /// Each a line's number times four, plus its kind: 0 fetched, 1 read, 2 written.
    let references: UnsafeMutablePointer<UInt64>
    public internal(set) var count = 0
    /// Those that are in another page than the one before of their stream (fetches, or reads and writes): the page's
    /// number times two, plus 1 for data.
    let pages: UnsafeMutablePointer<UInt64>
    var pageCount = 0
    /// Instructions executed by the fetches among them.
    public internal(set) var instructions: UInt64 = 0
    /// What came behind the last reference; nil when the batch was full.
    public internal(set) var event: TraceEvent?

    public init() {
        unsafe references = .allocate(capacity: Self.capacity)
        unsafe pages = .allocate(capacity: Self.capacity + 1)
    }

    deinit {
        unsafe references.deallocate()
        unsafe pages.deallocate()
    }

    /// A reference: the address of its line, and its kind as in the trace.
    public subscript(index: Int) -> (line: VirtualAddress, kind: Int) {
        precondition(index >= 0 && index < count)
        let reference = unsafe references[index]
        return (VirtualAddress((reference >> 2) << 6), Int(reference & 3))
    }
}

/// A trace that is being read.
public struct TraceReader: ~Copyable {
    public let header: TraceHeader
    private var input: TraceInput
    private var fetchLine: UInt64 = 0
    private var dataLine: UInt64 = 0
    private static let noPage = UInt64.max
    private var fetchPage = noPage
    private var dataPage = noPage
    private var isDone = false

    public var path: String { input.path }
    /// Of the next record, in the uncompressed stream.
    public var offset: Int { input.offset }
    /// How much of the file was read, from 0 to 1.
    public var progress: Double { Double(input.bytesRead) / Double(max(input.fileBytes, 1)) }

    private static let mostInstructions: UInt64 = 1 << 48
    private static let lines: UInt64 = 1 << 58

    /// Opens a trace and reads its header.
    ///
    /// - Throws: `TraceError` when the file cannot be read, is no trace or one of another version, or when its header
    ///   contradicts itself.
    public init(_ path: String) throws(TraceError) {
        var input = try TraceInput(path)
        header = try Self.header(&input)
        self.input = input
    }

    /// Reads on.
    ///
    /// - Returns: false when the trace was read to its end.
    /// - Throws: `TraceError` when the trace is damaged, or ends without an end record.
    public mutating func next(_ batch: inout TraceBatch) throws(TraceError) -> Bool {
        batch.count = 0
        batch.pageCount = 0
        batch.instructions = 0
        batch.event = nil
        if isDone { return false }
        let references = unsafe batch.references
        let pages = unsafe batch.pages
        var (fetchLine, dataLine) = (fetchLine, dataLine)
        var (fetchPage, dataPage) = (fetchPage, dataPage)
        var (count, pageCount, instructions) = (0, 0, UInt64(0))
        while count < TraceBatch.capacity {
            try input.fill()
            let window = unsafe input.window
            let start = input.position
            // Where it is safe to begin a record: behind the last of these places the window holds another whole one.
            let limit = input.limit
            let last = limit - TraceInput.slack
            var at = start
            repeat {
                let record = at
                guard let v = unsafe Self.varint(window, &at) else { throw damaged(record) }
                let payload = v >> 2
                let delta = payload >> 1 ^ (0 &- (payload & 1))
                switch v & 3 {
                case 0:
                    fetchLine &+= delta
                    // One byte nearly always: said by a branch, the next record need not wait for it.
                    var executed = unsafe UInt64(window[at])
                    at &+= 1
                    if executed >= 0x80 {
                        at &-= 1
                        guard let count = unsafe Self.varint(window, &at), count <= Self.mostInstructions else {
                            throw damaged(record)
                        }
                        executed = count
                    }
                    guard fetchLine < Self.lines else { throw at > limit ? truncated(limit) : outside(record) }
                    instructions &+= executed
                    unsafe references[count] = fetchLine &<< 2
                    count &+= 1
                    // Without a branch: whether a stream stays in its page follows no pattern.
                    let page = fetchLine &>> 6
                    unsafe pages[pageCount] = page &<< 1
                    pageCount &+= page == fetchPage ? 0 : 1
                    fetchPage = page
                case 3:
                    guard at <= limit else { throw truncated(limit) }
                    input.position = at
                    let event = try event(payload, record)
                    (self.fetchLine, self.dataLine) = (fetchLine, dataLine)
                    (self.fetchPage, self.dataPage) = (fetchPage, dataPage)
                    (batch.count, batch.pageCount) = (count, pageCount)
                    (batch.instructions, batch.event) = (instructions, event)
                    switch event {
                    case .end: try finish()
                    case .processor, .addressSpace: (self.fetchPage, self.dataPage) = (Self.noPage, Self.noPage)
                    case .site, .systemCall, .skipped: break
                    }
                    return true
                default:
                    dataLine &+= delta
                    guard dataLine < Self.lines else { throw at > limit ? truncated(limit) : outside(record) }
                    unsafe references[count] = dataLine &<< 2 | v & 3
                    count &+= 1
                    let page = dataLine &>> 6
                    unsafe pages[pageCount] = page &<< 1 | 1
                    pageCount &+= page == dataPage ? 0 : 1
                    dataPage = page
                }
            } while at <= last && count < TraceBatch.capacity
            // Only what follows the last whole record can lie behind the end.
            guard at <= limit else { throw truncated(limit) }
            input.position = at
        }
        (self.fetchLine, self.dataLine) = (fetchLine, dataLine)
        (self.fetchPage, self.dataPage) = (fetchPage, dataPage)
        (batch.count, batch.pageCount, batch.instructions) = (count, pageCount, instructions)
        return true
    }

    /// Nil for a number of more than 64 bits.
    ///
    /// Lengths follow no pattern, so a loop over the bytes would mispredict at each number. Up to eight bytes are taken
    /// at once: those that belong to it are kept and their seven bits moved together, in pairs, fours and eights.
    @inline(__always)
    private static func varint(_ window: UnsafeMutablePointer<UInt8>, _ at: inout Int) -> UInt64? {
        let word = unsafe UInt64(
            littleEndian: UnsafeRawPointer(window + at).loadUnaligned(as: UInt64.self))
        let ends = ~word & 0x8080_8080_8080_8080
        if ends == 0 { return unsafe longVarint(window, &at) }
        at &+= (ends.trailingZeroBitCount &+ 1) &>> 3
        var bits = word & (ends ^ (ends &- 1)) & 0x7f7f_7f7f_7f7f_7f7f
        bits = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) &>> 1
        bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) &>> 2
        return bits & 0x0fff_ffff | (bits & 0x0fff_ffff_0000_0000) &>> 4
    }

    @inline(never)
    private static func longVarint(_ window: UnsafeMutablePointer<UInt8>, _ at: inout Int) -> UInt64? {
        var value: UInt64 = 0
        for index in 0..<10 {
            let byte = unsafe UInt64(window[at + index])
            if index == 9, byte > 1 { return nil }
            value |= (byte & 0x7f) << UInt64(7 * index)
            if byte < 0x80 {
                at += index + 1
                return value
            }
        }
        return nil
    }

    private func event(_ payload: UInt64, _ record: Int) throws(TraceError) -> TraceEvent {
        let value = payload >> 3
        switch payload & 7 {
        case 0 where value < UInt64(header.sites.count): return .site(Int(value))
        case 1 where value == 0: return .systemCall
        case 2 where value < 1 << 16: return .processor(Int(value))
        case 3 where value == 0: return .end
        case 4 where value == 0: return .addressSpace
        case 5 where value <= Self.mostInstructions: return .skipped(value)
        default:
            throw TraceError(
                input.path, at: input.base + record,
                "damaged: an event of type \(payload & 7) with the value \(value), which version 1 does not have")
        }
    }

    /// Nothing may come behind the end record.
    private mutating func finish() throws(TraceError) {
        isDone = true
        try input.fill()
        guard input.position == input.limit else {
            throw TraceError(input.path, at: input.offset, "damaged: there are bytes behind the end record")
        }
    }

    private func damaged(_ record: Int) -> TraceError {
        TraceError(input.path, at: input.base + record, "damaged: a number too large for what it says")
    }

    private func outside(_ record: Int) -> TraceError {
        TraceError(input.path, at: input.base + record, "damaged: a reference outside the address space")
    }

    private func truncated(_ limit: Int) -> TraceError {
        TraceError(input.path, at: input.base + limit, "truncated: it ends without an end record; record it again")
    }

    private static func header(_ input: inout TraceInput) throws(TraceError) -> TraceHeader {
        var bytes: [UInt8] = []
        func need(_ count: Int, _ input: inout TraceInput) throws(TraceError) {
            while bytes.count < count {
                try input.fill()
                let there = min(input.limit - input.position, count - bytes.count)
                guard there > 0 else { throw TraceError(input.path, at: input.offset, "truncated within its header") }
                for i in 0..<there { bytes.append(unsafe input.window[input.position + i]) }
                input.position += there
            }
        }
        func number<T: FixedWidthInteger>(_ at: Int, _: T.Type) -> T {
            (0..<T.bitWidth / 8).reduce(0) { $0 | T(truncatingIfNeeded: bytes[at + $1]) << T(8 * $1) }
        }
        let path = input.path
        try need(16, &input)
        guard bytes.starts(with: TraceHeader.magic) else { throw TraceError(path, at: 0, "not a trace: no kpermtrc") }
        let version = number(8, UInt32.self)
        guard version == TraceHeader.version else {
            throw TraceError(path, at: 8, "version \(version); this kperm reads version \(TraceHeader.version)")
        }
        let length = Int(number(12, UInt32.self))
        guard length >= 88, length <= TraceHeader.longest, length % 8 == 0 else {
            throw TraceError(path, at: 12, "damaged: a header of \(length) bytes")
        }
        try need(length, &input)
        let base = number(16, UInt64.self)
        let imageBytes = number(24, UInt64.self)
        guard base % UInt64(pageSize) == 0, imageBytes > 0, imageBytes <= 1 << 30, base <= .max - imageBytes else {
            throw TraceError(
                path, at: 16, "damaged: an image of \(imageBytes) bytes at \(base.hex): not 1 byte to 1 GB at a page")
        }
        let nameBytes = Int(number(80, UInt32.self))
        guard nameBytes <= length - 88 else { throw TraceError(path, at: 80, "damaged: a name of \(nameBytes) bytes") }
        let sites = 84 + nameBytes
        let siteCount = Int(number(sites, UInt32.self))
        guard siteCount <= (length - sites - 4) / 8 else {
            throw TraceError(path, at: sites, "damaged: \(siteCount) sites in a header of \(length) bytes")
        }
        var header = TraceHeader(
            virtualBase: VirtualAddress(base), imageBytes: imageBytes,
            workload: String(decoding: bytes[84..<84 + nameBytes], as: UTF8.self))
        header.referenceCount = number(32, UInt64.self)
        header.windowStart = number(40, UInt64.self)
        header.buildID = Array(bytes[48..<80].reversed().drop { $0 == 0 }.reversed())
        header.sites = (0..<siteCount).map { VirtualAddress(number(sites + 4 + 8 * $0, UInt64.self)) }
        return header
    }
}
