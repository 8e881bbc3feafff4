// SPDX-License-Identifier: MIT

// arm64 instructions by capstone, reduced to what they do to registers.

public import Addressing
import CCapstone

/// A disassembler for arm64.
@safe
public final class ARM64Decoder {
    public static let registerNames = (0..<31).map { "x\($0)" } + ["sp", "xzr"]

    private let capstone = Capstone(CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN)

    public init() {}

    /// The instruction that begins the bytes, or nil when they are none. What capstone does not know is taken for one
    /// that writes a register.
    public func decode(_ bytes: RawSpan, at address: VirtualAddress) -> PlainInstruction? {
        guard bytes.byteCount >= 4 else { return nil }
        let word = unsafe bytes.unsafeLoadUnaligned(as: UInt32.self)
        // The range of encodings that are reserved (op0 = 0), such as data.
        guard word >> 25 & 15 != 0 else { return nil }
        let known = unsafe capstone.decode(bytes, at: address) { unsafe translate($0) }
        // Branches to registers with a signed address, which capstone 4 does not know.
        let isBranch = word >> 25 == 0x6b
        return known
            ?? PlainInstruction(
                address: address, size: 4, text: "?", effects: [],
                writes: isBranch || word & 31 == 31 ? 0 : 1 << UInt64(word & 31),
                flow: !isBranch ? .next : word >> 21 & 3 == 1 ? .call : .end, target: nil,
                isIndirectJump: isBranch && word >> 21 & 3 == 0)
    }

    private func translate(_ raw: UnsafeMutablePointer<cs_insn>) -> PlainInstruction {
        let mnemonic = unsafe withUnsafeBytes(of: &raw.pointee.mnemonic) { unsafe Self.text($0) }
        let rest = unsafe withUnsafeBytes(of: &raw.pointee.op_str) { unsafe Self.text($0) }
        var operands: [cs_arm64_op] = []
        var writeback = false
        var implicit: UInt64 = 0
        if let detail = unsafe raw.pointee.detail {
            writeback = unsafe detail.pointee.arm64.writeback
            let count = unsafe Int(detail.pointee.arm64.op_count)
            unsafe withUnsafeBytes(of: &detail.pointee.arm64.operands) { bytes in
                let all = unsafe bytes.bindMemory(to: cs_arm64_op.self)
                operands = unsafe Array(all.prefix(count))
            }
            let written = unsafe Int(detail.pointee.regs_write_count)
            unsafe withUnsafeBytes(of: &detail.pointee.regs_write) { bytes in
                let all = unsafe bytes.bindMemory(to: UInt16.self)
                for i in 0..<min(written, all.count) { implicit |= Self.bit(Self.number(UInt32(unsafe all[i]))) }
            }
        }
        let effect = Effects(mnemonic, operands, writeback: writeback)
        var target: VirtualAddress?
        if [.call, .branch, .jump].contains(effect.flow), let last = operands.last, last.type == ARM64_OP_IMM {
            target = VirtualAddress(UInt64(bitPattern: last.imm))
        }
        return PlainInstruction(
            address: VirtualAddress(unsafe raw.pointee.address), size: 4, text: "\(mnemonic) \(rest)",
            effects: effect.effects, writes: effect.writes | implicit, flow: effect.flow, target: target,
            isIndirectJump: mnemonic == "br")
    }

    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// The register that a number of capstone's names in whole or in part; nil for others than the general ones.
    fileprivate static func number(_ register: UInt32) -> Int? {
        switch register {
        case ARM64_REG_X0.rawValue...ARM64_REG_X28.rawValue: Int(register - ARM64_REG_X0.rawValue)
        case ARM64_REG_W0.rawValue...ARM64_REG_W30.rawValue: Int(register - ARM64_REG_W0.rawValue)
        case ARM64_REG_X29.rawValue: 29
        case ARM64_REG_X30.rawValue: 30
        case ARM64_REG_SP.rawValue, ARM64_REG_WSP.rawValue: 31
        case ARM64_REG_XZR.rawValue, ARM64_REG_WZR.rawValue: PlainInstruction.zero
        default: nil
        }
    }

    fileprivate static func isWhole(_ register: UInt32) -> Bool {
        !(ARM64_REG_W0.rawValue...ARM64_REG_W30.rawValue).contains(register) && register != ARM64_REG_WSP.rawValue
    }

    fileprivate static func bit(_ register: Int?) -> UInt64 { register.map { 1 << UInt64($0) } ?? 0 }
}

/// What one instruction does.
private struct Effects {
    var effects: [PlainInstruction.Effect] = []
    var writes: UInt64 = 0
    var flow = Instruction.Flow.next

    init(_ mnemonic: String, _ operands: [cs_arm64_op], writeback: Bool) {
        flow = Self.flow(mnemonic)
        if !arithmetic(mnemonic, operands), !memory(mnemonic, operands, writeback) {
            effects = []
            other(mnemonic, operands, writeback)
        }
        writes &= ~(1 << UInt64(PlainInstruction.zero))
    }

    private static func flow(_ mnemonic: String) -> Instruction.Flow {
        switch mnemonic {
        // What firmware answers is in the registers that a function may change.
        case "bl", "blr", "svc", "hvc", "smc": .call
        case "b": .jump
        case "cbz", "cbnz", "tbz", "tbnz": .branch
        case "br", "ret", "eret", "brk", "hlt": .end
        default: mnemonic.hasPrefix("b.") ? .branch : .next
        }
    }

    /// A general register of 64 bits, neither shifted nor extended.
    private static func whole(_ operand: cs_arm64_op) -> Int? {
        guard operand.type == ARM64_OP_REG, operand.shift.value == 0, operand.ext == ARM64_EXT_INVALID,
            ARM64Decoder.isWhole(operand.reg.rawValue)
        else { return nil }
        return ARM64Decoder.number(operand.reg.rawValue)
    }

    private static func constant(_ operand: cs_arm64_op) -> UInt64? {
        operand.type == ARM64_OP_IMM ? UInt64(bitPattern: operand.imm) << UInt64(operand.shift.value) : nil
    }

    private mutating func arithmetic(_ mnemonic: String, _ operands: [cs_arm64_op]) -> Bool {
        guard let to = operands.first.flatMap(Self.whole) else { return false }
        switch (mnemonic, operands.count) {
        case ("adrp", 2), ("adr", 2), ("mov", 2), ("movz", 2):
            if let value = Self.constant(operands[1]) {
                effects = [.set(to, value)]
            } else if let from = Self.whole(operands[1]) {
                effects = [.addConstant(to: to, from, 0)]
            } else {
                return false
            }
        case ("add", 3), ("sub", 3), ("adds", 3), ("subs", 3):
            guard let first = Self.whole(operands[1]) else { return false }
            let isSum = mnemonic.hasPrefix("add")
            if let value = Self.constant(operands[2]) {
                effects = [.addConstant(to: to, first, isSum ? value : 0 &- value)]
            } else if let second = Self.whole(operands[2]) {
                effects = [isSum ? .add(to: to, first, second) : .subtract(to: to, first, second)]
            } else if operands[2].type == ARM64_OP_REG, let second = ARM64Decoder.number(operands[2].reg.rawValue) {
                // Shifted or extended: what it holds is not known, but what it is combined with is.
                let changed = PlainInstruction.unknown
                effects = [.use(second), isSum ? .add(to: to, first, changed) : .subtract(to: to, first, changed)]
            } else {
                return false
            }
        case ("neg", 2):
            guard let from = Self.whole(operands[1]) else { return false }
            effects = [.subtract(to: to, PlainInstruction.zero, from)]
        case ("csel", 3):
            guard let first = Self.whole(operands[1]), let second = Self.whole(operands[2]) else { return false }
            effects = [.choose(to: to, first, second)]
        default: return false
        }
        return true
    }

    private mutating func memory(_ mnemonic: String, _ operands: [cs_arm64_op], _ writeback: Bool) -> Bool {
        let isLoad = mnemonic == "ldr" || mnemonic == "ldur" || mnemonic == "ldp"
        guard isLoad || mnemonic == "str" || mnemonic == "stur" || mnemonic == "stp" else { return false }
        guard let place = operands.firstIndex(where: { $0.type == ARM64_OP_MEM }), place > 0,
            let base = ARM64Decoder.number(operands[place].mem.base.rawValue)
        else { return false }
        guard operands[place].mem.index == ARM64_REG_INVALID else { return false }
        let displacement = UInt64(bitPattern: Int64(operands[place].mem.disp))
        // With writeback the displacement changes the base: before the access, or behind it when it stands apart.
        let later = place + 1 < operands.count ? Self.constant(operands[place + 1]) : nil
        if writeback, later == nil { effects.append(.addConstant(to: base, base, displacement)) }
        var offset = writeback ? 0 : displacement
        for operand in operands[..<place] {
            guard operand.type == ARM64_OP_REG else { continue }
            guard let register = ARM64Decoder.number(operand.reg.rawValue) else { continue }
            let bytes = ARM64Decoder.isWhole(operand.reg.rawValue) ? 8 : 4
            effects.append(
                isLoad
                    ? .load(to: register, base: base, displacement: offset, bytes: bytes)
                    : .store(register, base: base, displacement: offset, bytes: bytes))
            offset &+= UInt64(bytes)
        }
        if writeback, let later { effects.append(.addConstant(to: base, base, later)) }
        return true
    }

    /// Mnemonics whose first operand is only read.
    private static let readsFirst: Set = [
        "cmp", "cmn", "tst", "ccmp", "ccmn", "cbz", "cbnz", "tbz", "tbnz", "nop", "hint", "prfm", "prfum", "msr", "br",
        "blr", "ret", "sys", "dc", "ic", "at", "tlbi",
    ]

    /// capstone 4 gives many a register that is only written as read, or the other way round: the first operand is
    /// written and not read, but for those that are known to do otherwise.
    private mutating func other(_ mnemonic: String, _ operands: [cs_arm64_op], _ writeback: Bool) {
        let isComparison = ["cmp", "cmn", "tst", "ccmp", "ccmn", "cbz", "cbnz", "tbz", "tbnz"].contains(mnemonic)
        // The status of an exclusive store is its first operand.
        let isStore = mnemonic.hasPrefix("st") && !mnemonic.hasPrefix("stx") && !mnemonic.hasPrefix("stlx")
        let writesFirst = !isStore && !Self.readsFirst.contains(mnemonic)
        let readsFirst =
            !writesFirst || ["movk", "bfi", "bfm", "bfxil"].contains(mnemonic)
            || ["cas", "swp", "ldadd", "ldclr", "ldeor", "ldset"].contains { mnemonic.hasPrefix($0) }
        let isPair = mnemonic.hasPrefix("ldp") || mnemonic.hasPrefix("ldxp") || mnemonic.hasPrefix("ldaxp")
        for (i, operand) in operands.enumerated() {
            switch operand.type {
            case ARM64_OP_REG:
                guard let register = ARM64Decoder.number(operand.reg.rawValue) else { continue }
                let isWritten = operand.access & UInt8(CS_AC_WRITE.rawValue) != 0
                if i == 0 ? writesFirst : isWritten || isPair { writes |= ARM64Decoder.bit(register) }
                if !isComparison, i == 0 ? readsFirst : !isPair { effects.append(.use(register)) }
            case ARM64_OP_MEM:
                for register in [operand.mem.base, operand.mem.index] {
                    guard let register = ARM64Decoder.number(register.rawValue) else { continue }
                    effects.append(.use(register))
                    if writeback { writes |= ARM64Decoder.bit(register) }
                }
            default: continue
            }
        }
        // What compares and swaps or adds leaves the old value in its second operand.
        if mnemonic.hasPrefix("swp") || mnemonic.hasPrefix("ldadd") || mnemonic.hasPrefix("ldclr")
            || mnemonic.hasPrefix("ldeor") || mnemonic.hasPrefix("ldset"), operands.count > 1
        {
            writes |= ARM64Decoder.bit(ARM64Decoder.number(operands[1].reg.rawValue))
        }
    }
}
