// SPDX-License-Identifier: MIT

// Looks for a translation table in bytes that came from somewhere else, in every
// form that a kernel has it in: as numbers of frames or pages (32 and 64 bits), as
// physical addresses, entries of page tables, numbers of frames in all of memory,
// differences of addresses, and as text of these. One number proves nothing; four
// in a row that four neighbouring pages have, none of which follows from the one
// before, do not come by chance.

import Addressing
import PagePermutation

struct TableSearch {
    /// So many neighbours prove a table.
    static let window = 4
    static let seedWord = Array("kperm.seed=".utf8)

    let table: TranslationTable
    private let count: UInt64
    /// Where the image was linked to lie: kernels name addresses there, too.
    let linkedBase: VirtualAddress
    /// Whether the image begins in physical memory where no file says.
    let isBaseSecret: Bool
    private let seeds: [[UInt8]]
    private let hexadecimalSeeds: [[UInt8]]
    /// What a table of differences has for a page that did not move.
    private let distance: UInt64
    /// Pages by how far they moved, modulo 2^64.
    private let movedBy: [UInt64: [Int]]
    /// Pages that move together.
    private let granule: Int

    /// - Parameter seeds: 32 bytes each.
    init(_ table: TranslationTable, linkedBase: VirtualAddress, isBaseSecret: Bool = true, seeds: [[UInt8]] = []) {
        self.table = table
        self.linkedBase = linkedBase
        self.isBaseSecret = isBaseSecret
        self.seeds = seeds
        hexadecimalSeeds = seeds.map { Array(hexadecimalDigits($0).utf8) }
        count = UInt64(table.pageCount)
        distance = table.physicalBase.rawValue &- table.virtualBase.rawValue
        var movedBy: [UInt64: [Int]] = [:]
        for page in 0..<table.pageCount {
            movedBy[UInt64(table.forward[page]) &- UInt64(page), default: []].append(page)
        }
        self.movedBy = movedBy
        granule =
            [512, 16, 4].first { size in
                (1..<table.pageCount).allSatisfy { $0 % size == 0 || table.forward[$0] == table.forward[$0 - 1] + 1 }
            } ?? 1
    }

    func look(at bytes: ArraySlice<UInt8>) -> Revealed {
        var revealed = Revealed()
        unsafe bytes.withUnsafeBytes { buffer in
            let span = unsafe RawSpan(_unsafeBytes: buffer)
            searchWords(span, &revealed)
            revealed.seed = holdsSeed(span)
            TextSearch(self).look(at: span, &revealed)
        }
        return revealed
    }

    /// Which way a table is read: the frame of each page, or the page in each frame.
    private enum Direction { case forward, inverse }

    private func order(_ direction: Direction) -> [UInt32] { direction == .forward ? table.forward : table.inverse }

    /// Whether the entries from `start` on moved, and do not follow from each other.
    private func isTelling(_ order: [UInt32], _ start: Int) -> Bool {
        guard start + (Self.window - 1) * granule < order.count else { return false }
        for step in 0..<Self.window {
            let at = start + step * granule
            if order[at] == UInt32(at) { return false }
            if step > 0, order[at] == order[at - granule] + UInt32(granule) { return false }
        }
        return true
    }

    /// Notes the pages that a table tells from the entry `start` on, if `read` gives that entry's neighbours.
    private func test(
        _ direction: Direction, _ start: Int, _ revealed: inout Revealed, read: (_ step: Int) -> UInt64?
    ) {
        let order = order(direction)
        guard isTelling(order, start) else { return }
        for step in 1..<Self.window {
            let at = step * granule
            if read(at) != UInt64(order[start + at]) { return }
        }
        for step in 0..<Self.window {
            let at = start + step * granule
            revealed.pages.insert(direction == .forward ? at : Int(order[at]))
        }
    }

    // MARK: Words of 32 and 64 bits

    private func searchWords(_ span: RawSpan, _ revealed: inout Revealed) {
        let frameBase = table.physicalBase.rawValue >> 12
        let end = span.byteCount
        func narrow(_ at: Int) -> UInt64? {
            at + 4 <= end ? UInt64(unsafe span.unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self)) : nil
        }
        func wide(_ at: Int) -> UInt64? {
            at + 8 <= end ? unsafe span.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self) : nil
        }
        /// A page-table entry or a physical address; the number of a frame of all memory, with flags in the top bits;
        /// a virtual address.
        func framed(_ word: UInt64) -> UInt64 { ((word & PageTables.addressMask) >> 12) &- frameBase }
        func numbered(_ word: UInt64) -> UInt64 { (word & (1 << 55 - 1)) &- frameBase }
        func paged(_ word: UInt64) -> UInt64 { (word &- table.virtualBase.rawValue) >> 12 }

        func test(_ at: Int, _ width: Int, _ value: UInt64, _ read: (Int) -> UInt64?) {
            self.test(.forward, Int(table.inverse[Int(value)]), &revealed) { read(at + $0 * width) }
            self.test(.inverse, Int(table.forward[Int(value)]), &revealed) { read(at + $0 * width) }
        }
        var at = 0
        while let value = narrow(at) {
            if value < count { test(at, 4, value, narrow) }
            if let word = wide(at) {
                if word < count { test(at, 8, word, wide) }
                if framed(word) < count { test(at, 8, framed(word)) { wide($0).map(framed) } }
                if numbered(word) < count { test(at, 8, numbered(word)) { wide($0).map(numbered) } }
                if paged(word) < count { test(at, 8, paged(word)) { wide($0).map(paged) } }
                testDifferences(at, word, wide, &revealed)
            }
            at += 1
        }
    }

    /// A table of differences, from pages to frames or back.
    private func testDifferences(_ at: Int, _ word: UInt64, _ wide: (Int) -> UInt64?, _ revealed: inout Revealed) {
        func moved(_ word: UInt64, _ linear: UInt64) -> UInt64? {
            let difference = Int64(bitPattern: word &- linear)
            guard difference & 0xfff == 0, difference != 0, difference.magnitude >> 12 < count else { return nil }
            return UInt64(bitPattern: difference >> 12)
        }
        if let first = moved(word, distance) {
            for page in movedBy[first] ?? [] {
                test(.forward, page, &revealed) { step in
                    wide(at + step * 8).flatMap { moved($0, distance) }.map { $0 &+ UInt64(page + step) }
                }
            }
        }
        if let first = moved(word, 0 &- distance) {
            for frame in (movedBy[0 &- first] ?? []).map({ Int(table.forward[$0]) }) {
                test(.inverse, frame, &revealed) { step in
                    wide(at + step * 8).flatMap { moved($0, 0 &- distance) }.map { $0 &+ UInt64(frame + step) }
                }
            }
        }
    }

    /// Frames that a list of physical pages names (as /proc/self/pagemap does), each a page of the image that moved.
    func frames(in pagemap: ArraySlice<UInt8>) -> Revealed {
        var revealed = Revealed()
        var at = pagemap.startIndex
        while at + 8 <= pagemap.endIndex {
            let word = (0..<8).reduce(UInt64(0)) { $0 | UInt64(pagemap[at + $1]) << UInt64(8 * $1) }
            let frame = (word & (1 << 55 - 1)) &- table.physicalBase.rawValue >> 12
            // Bit 63: the page is there.
            if word >> 63 == 1, frame < count, UInt64(table.inverse[Int(frame)]) != frame {
                revealed.pages.insert(Int(table.inverse[Int(frame)]))
            }
            at += 8
        }
        return revealed
    }

    // MARK: Seeds and text

    /// Whether a seed is in it: one that is known, or any on a kernel's command line.
    private func holdsSeed(_ span: RawSpan) -> Bool {
        if (seeds + hexadecimalSeeds).contains(where: { span.offset(of: $0, from: 0) != nil }) { return true }
        var from = 0
        while let found = span.offset(of: Self.seedWord, from: from) {
            from = found + Self.seedWord.count
            let isGiven = from + 64 <= span.byteCount && (from..<from + 64).allSatisfy { span.digit(at: $0) != nil }
            if isGiven { return true }
        }
        return false
    }
}

func hexadecimalDigits(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
