// SPDX-License-Identifier: MIT

// What each CPU says of its paging, out of the monitor's `info registers -a`: CR3 and
// CR4 on x86-64, satp on RISC-V.

import Addressing

struct ControlRegisters: Equatable {
    var cpu: Int
    var cr3: UInt64
    var cr4: UInt64

    /// CR4.LA57: five levels instead of four.
    var pagingLevels: Int { cr4 & (1 << 12) != 0 ? 5 : 4 }

    /// The root table, without the address-space number in the low bits.
    var root: PhysicalAddress { PhysicalAddress(cr3 & PageTables.addressMask) }

    var tables: PageTables { PageTables(root: root, levels: pagingLevels) }

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

/// `satp`: the mode, an address-space number, and the frame of the root table.
struct TranslationRegister: Equatable {
    var cpu: Int
    var value: UInt64

    /// nil where nothing is translated: the other modes are reserved.
    var tables: PageTables? {
        let levels = Int(value >> 60) - 5
        guard (3...5).contains(levels) else { return nil }
        return PageTables(root: PhysicalAddress((value & 0xfff_ffff_ffff) << 12), levels: levels, format: .riscv)
    }

    static func parse(_ text: String) -> [TranslationRegister] {
        var all: [TranslationRegister] = []
        var cpu: Int?
        var isNext = false
        for word in text.split(whereSeparator: { $0.isWhitespace }) {
            if word.hasPrefix("CPU#") { cpu = Int(word.dropFirst(4)) }
            if isNext, let cpu, let value = UInt64(word, radix: 16) {
                all.append(TranslationRegister(cpu: cpu, value: value))
            }
            isNext = word == "satp"
        }
        return all
    }
}
