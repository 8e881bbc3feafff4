// SPDX-License-Identifier: MIT

// Other addresses that show text or read-only data: the linear map above all,
// wherever it is. A kernel write-protects these by ranges of frames that it
// computes as if the image were not permuted, so this must be seen, not believed.

import Addressing
import PagePermutation

/// Who else shows the pages of text and rodata, and with which rights.
public struct AliasFigures: Codable, Equatable, Sendable {
    /// Pages, and what the linear map has of them.
    public struct Pages: Codable, Equatable, Sendable {
        public internal(set) var count = 0
        /// How many the linear map shows.
        public internal(set) var shown = 0
        public internal(set) var writable = 0
        public internal(set) var executable = 0
    }

    /// Pages of text and rodata that moved.
    public internal(set) var moved = Pages()
    /// Those in the frames that a linear mapping gives: all of a stock kernel's.
    public internal(set) var unmoved = Pages()
    /// Mappings of both among the image's own addresses that are not the page's own, where a stock kernel shows
    /// the frame, say.
    public internal(set) var elsewhereInImage = 0
    /// All other mappings of both.
    public internal(set) var elsewhere = 0
    /// Mappings that are writable or executable.
    public internal(set) var wide = 0
    /// The first of them, a line each (at most 20).
    public internal(set) var examples: [String] = []

    /// Mappings of any kind but the page's own.
    var seen: Int { moved.shown + unmoved.shown + elsewhereInImage + elsewhere }
}

extension GuestExpectation {
    /// - Parameter tables: the kernel's.
    func aliases(_ tables: PageTables, _ memory: borrowing GuestMemory) -> AliasFigures {
        var figures = AliasFigures()
        let isProtected = pages.map { $0 == .text || $0 == .rodata }
        for page in pages.indices where isProtected[page] {
            if table.forward[page] == UInt32(page) { figures.unmoved.count += 1 } else { figures.moved.count += 1 }
        }
        let mappings = tables.kernelMappings(
            of: physicalAddress(ofFrame: 0)..<physicalAddress(ofFrame: table.pageCount), in: memory)
        let linear = linearDistance(mappings)
        for (alias, shown) in mappings {
            let frame = Int((shown.physical - table.physicalBase) / UInt64(pageSize))
            let page = Int(table.inverse[frame])
            let own = table.virtualBase + UInt64(page * pageSize)
            guard isProtected[page], alias != own else { continue }
            if imageAddresses.contains(alias) {
                figures.elsewhereInImage += 1
            } else if alias.rawValue &- shown.physical.rawValue == linear {
                if page == frame { figures.unmoved.add(shown) } else { figures.moved.add(shown) }
            } else {
                figures.elsewhere += 1
            }
            guard shown.writable || shown.executable else { continue }
            figures.wide += 1
            let rights = [shown.writable ? "writable" : "", shown.executable ? "executable" : ""]
            let words = rights.filter { !$0.isEmpty }.joined(separator: " ")
            guard figures.examples.count < 20 else { continue }
            figures.examples.append("\(pages[page]) page \(page) (\(own)) is \(words) at \(alias)")
        }
        return figures
    }

    /// The distance that most mappings outside the image have from the memory they show: the linear map's.
    func linearDistance(_ mappings: [(address: VirtualAddress, translation: Translation)]) -> UInt64? {
        var distances: [UInt64: Int] = [:]
        for (alias, shown) in mappings where !imageAddresses.contains(alias) {
            distances[alias.rawValue &- shown.physical.rawValue, default: 0] += 1
        }
        return distances.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    private var imageAddresses: Range<VirtualAddress> {
        table.virtualBase..<table.virtualBase + UInt64(table.pageCount * pageSize)
    }
}

extension AliasFigures.Pages {
    fileprivate mutating func add(_ shown: Translation) {
        self.shown += 1
        if shown.writable { writable += 1 }
        if shown.executable { executable += 1 }
    }
}
