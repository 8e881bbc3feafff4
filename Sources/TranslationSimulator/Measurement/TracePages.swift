// SPDX-License-Identifier: MIT

// The pages of the image in the order in which a real kernel used them, thinned
// out: stretches that follow one another as they did, from all over the trace.

import Addressing

/// Stretches of page numbers, evenly spread over what was added, however much that is.
struct SpreadStretches {
    /// The length of a stretch.
    let length: Int
    private let most: Int
    private var kept: [[UInt32]] = []
    private var current: [UInt32] = []
    /// One stretch of so many is kept.
    private var every = 1
    private var finished = 0

    init(length: Int, most: Int) {
        precondition(length > 0 && most > 1)
        (self.length, self.most) = (length, most)
    }

    mutating func add(_ page: UInt32) {
        current.append(page)
        guard current.count == length else { return }
        if finished % every == 0 { kept.append(current) }
        finished += 1
        current.removeAll(keepingCapacity: true)
        guard kept.count > most else { return }
        kept = stride(from: 0, to: kept.count, by: 2).map { kept[$0] }
        every *= 2
    }

    /// At most `most` stretches, and one that was not finished if none was left out.
    var all: [UInt32] { kept.flatMap { $0 } + (every == 1 ? current : []) }
}

extension AccessPattern {
    /// What of a trace is replayed: stretches of 1,024 references to pages of the image, fetches, reads and writes as they
    /// came, evenly spread over all of it.
    ///
    /// - Throws: `TraceError` when the trace is damaged or refers to no page of the image.
    public static func pages(in reader: inout TraceReader) throws(TraceError) -> [UInt32] {
        let base = reader.header.virtualBase.rawValue
        let count = UInt64(reader.header.pageCount)
        var stretches = SpreadStretches(length: 1024, most: LookupBench.patternLength / 1024)
        var batch = TraceBatch()
        while try reader.next(&batch) {
            for i in 0..<batch.count {
                let page = (batch[i].line.rawValue &- base) >> 12
                if page < count { stretches.add(UInt32(page)) }
            }
        }
        let pages = stretches.all
        guard !pages.isEmpty else {
            throw TraceError(reader.path, at: reader.offset, "ends without a reference to the image: nothing to replay")
        }
        return pages
    }
}
