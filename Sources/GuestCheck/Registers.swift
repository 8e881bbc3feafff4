// SPDX-License-Identifier: MIT

// What each CPU says of its paging, out of the monitor's `info registers -a`.

import Addressing

struct ControlRegisters: Equatable {
    var cpu: Int
    var cr3: UInt64
    var cr4: UInt64

    /// CR4.LA57: five levels instead of four.
    var pagingLevels: Int { cr4 & (1 << 12) != 0 ? 5 : 4 }

    /// The root table, without the address-space number in the low bits.
    var root: PhysicalAddress { PhysicalAddress(cr3 & PageTables.addressMask) }

    static func parse(_ text: String) -> [ControlRegisters] {
        var all: [ControlRegisters] = []
        for word in text.split(whereSeparator: { $0.isWhitespace }) {
            if word.hasPrefix("CPU#"), let cpu = Int(word.dropFirst(4)) {
                all.append(ControlRegisters(cpu: cpu, cr3: 0, cr4: 0))
            }
            guard !all.isEmpty, let value = UInt64(word.dropFirst(4), radix: 16) else { continue }
            if word.hasPrefix("CR3=") { all[all.count - 1].cr3 = value }
            if word.hasPrefix("CR4=") { all[all.count - 1].cr4 = value }
        }
        return all
    }
}
