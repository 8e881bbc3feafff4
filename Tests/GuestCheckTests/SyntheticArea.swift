// SPDX-License-Identifier: MIT

// A boot area made of values, as the stub leaves it, to be written into the
// memory of a synthetic guest.

import Addressing
import PagePermutation

@testable import GuestCheck

struct SyntheticArea {
    static let provided = 0x400
    static let tableOffset = 0x1000
    static let statusOffset = 0x2000

    var bytes = [UInt8](repeating: 0, count: 0x3000)

    init(_ table: TranslationTable, state: UInt32, sources: UInt32 = 3, status: String = "") {
        put(0x00, BootArea.magic)
        put(0x08, UInt32(1))
        put(0x0c, UInt32(Self.provided))
        put(0x18, UInt64(bytes.count))
        put(0x20, state)
        put(0x28, sources)
        put(0x2c, UInt32(table.movedCount))
        put(0x104, UInt32(table.pageCount))
        put(0x154, UInt32(Self.tableOffset))
        put(0x15c, UInt32(Self.statusOffset))
        for offset in 0x200..<Self.provided { bytes[offset] = UInt8(truncatingIfNeeded: offset &* 7) }
        if state == 1 { replace(Self.tableOffset, table.bytes) }
        put(Self.statusOffset + 8, UInt64(status.utf8.count))
        replace(Self.statusOffset + 16, Array(status.utf8))
        sign()
    }

    mutating func put<T: FixedWidthInteger>(_ offset: Int, _ value: T) {
        replace(offset, (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) })
    }

    mutating func replace(_ offset: Int, _ new: [UInt8]) {
        bytes.replaceSubrange(offset..<offset + new.count, with: new)
    }

    /// Makes the checksum right again.
    mutating func sign() {
        var sum: UInt64 = 0
        for word in stride(from: 0x100, to: Self.provided, by: 8) {
            sum &+= (0..<8).reduce(0) { $0 | UInt64(bytes[word + $1]) << UInt64(8 * $1) }
        }
        put(0x10, sum)
    }
}
