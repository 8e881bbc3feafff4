// SPDX-License-Identifier: MIT

// The few instructions of x86-64 that code made by the tool consists of, by their
// encodings (Intel's Software Developer's Manual, volume 2).

import Addressing
import Disassembly

enum X86Code {
    /// A direct jump (0xe9) or call (0xe8); nil when it is too far.
    static func branch(_ opcode: UInt8, from: VirtualAddress, to: VirtualAddress) -> [UInt8]? {
        distance(from: from + UInt64(ObservedSite.jumpBytes), to: to).map { [opcode] + bytes($0) }
    }

    static func push(_ register: GeneralRegister) -> [UInt8] { short(0x50, register) }
    static func pop(_ register: GeneralRegister) -> [UInt8] { short(0x58, register) }

    static let pushFlags: [UInt8] = [0x9c]
    static let popFlags: [UInt8] = [0x9d]

    /// `lea target(%rip), to`; nil when it is too far.
    static func load(
        _ to: GeneralRegister, addressOf target: VirtualAddress, at place: VirtualAddress
    ) -> [UInt8]? {
        distance(from: place + 7, to: target).map { [rex(to), 0x8d, to.low << 3 | 5] + bytes($0) }
    }

    /// `lea displacement(base), to`.
    static func load(_ to: GeneralRegister, _ base: GeneralRegister, plus displacement: Int32) -> [UInt8] {
        let further: [UInt8] = base.low == 4 ? [0x24] : []
        return [rex(to, base: base), 0x8d, 0x80 | to.low << 3 | base.low] + further + bytes(displacement)
    }

    /// `lea (to,other), to`, of 64 bits or of 32.
    static func add(_ other: GeneralRegister, to: GeneralRegister, bits: Int) -> [UInt8] {
        let prefix = rex(to, index: other, base: to) & (bits == 32 ? 0x47 : 0x4f)
        return [prefix, 0x8d, 0x44 | to.low << 3, other.low << 3 | to.low, 0]
    }

    /// `mov displacement(base,index,8), to`.
    static func load(
        _ to: GeneralRegister, word index: GeneralRegister, of base: GeneralRegister, plus displacement: Int32
    ) -> [UInt8] {
        [rex(to, index: index, base: base), 0x8b, 0x84 | to.low << 3, 0xc0 | index.low << 3 | base.low]
            + bytes(displacement)
    }

    /// `sub other, from`.
    static func subtract(_ other: GeneralRegister, from: GeneralRegister) -> [UInt8] {
        [rex(other, base: from), 0x29, 0xc0 | other.low << 3 | from.low]
    }

    /// `btr bit, register`.
    static func clear(bit: UInt8, of register: GeneralRegister) -> [UInt8] {
        [rex(base: register), 0x0f, 0xba, 0xf0 | register.low, bit]
    }

    /// `shr count, register`.
    static func shiftRight(_ register: GeneralRegister, by count: UInt8) -> [UInt8] {
        [rex(base: register), 0xc1, 0xe8 | register.low, count]
    }

    /// `cmp number, register`.
    static func compare(_ register: GeneralRegister, with number: Int32) -> [UInt8] {
        [rex(base: register), 0x81, 0xf8 | register.low] + bytes(number)
    }

    /// `cmovae source(%rip), to`; nil when it is too far.
    static func replaceUnlessBelow(
        _ to: GeneralRegister, byWordAt source: VirtualAddress, at place: VirtualAddress
    ) -> [UInt8]? {
        distance(from: place + 8, to: source).map { [rex(to), 0x0f, 0x43, to.low << 3 | 5] + bytes($0) }
    }

    /// From behind an instruction to what it names; nil when it is too far.
    static func distance(from: VirtualAddress, to: VirtualAddress) -> Int32? {
        Int32(exactly: Int64(bitPattern: to.rawValue &- from.rawValue))
    }

    private static func bytes(_ number: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: number)
        return bytes
    }

    /// The prefix of an instruction of 64 bits, with the fourth bits of its registers.
    private static func rex(
        _ register: GeneralRegister = .rax, index: GeneralRegister = .rax, base: GeneralRegister = .rax
    ) -> UInt8 {
        0x48 | register.high << 2 | index.high << 1 | base.high
    }

    private static func short(_ opcode: UInt8, _ register: GeneralRegister) -> [UInt8] {
        (register.high == 0 ? [] : [0x41]) + [opcode | register.low]
    }
}

extension GeneralRegister {
    fileprivate var low: UInt8 { UInt8(number & 7) }
    fileprivate var high: UInt8 { UInt8(number >> 3) }
}
