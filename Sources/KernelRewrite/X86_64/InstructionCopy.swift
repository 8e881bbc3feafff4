// SPDX-License-Identifier: MIT

// An instruction that shall do at another place what it does at its own. Only
// one that goes on to the next can, or a direct jump, and what it names relative
// to itself has to be named anew. The copy is decoded and held against the
// original.

import Addressing
import Disassembly

enum InstructionCopy {
    /// The bytes of an instruction at another place, or nil when it cannot stand there.
    static func bytes(
        of instruction: Instruction, _ original: [UInt8], at place: VirtualAddress, _ decoder: borrowing Decoder
    ) -> [UInt8]? {
        if instruction.flow == .jump || instruction.flow == .branch {
            return jump(instruction, original, at: place, decoder)
        }
        guard original.count == instruction.size, instruction.flow == .next,
            !["call", "syscall", "sysenter", "xbegin"].contains(instruction.mnemonic)
        else { return nil }
        guard let target = instruction.relativeReference else { return original }
        let old = Int32(truncatingIfNeeded: Int64(bitPattern: target.rawValue &- instruction.next.rawValue))
        let next = place + UInt64(instruction.size)
        guard let new = Int32(exactly: Int64(bitPattern: target.rawValue &- next.rawValue)) else { return nil }
        for offset in stride(from: original.count - 4, through: 1, by: -1) {
            let field = original[offset..<offset + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard Int32(bitPattern: field) == old else { continue }
            var copy = original
            copy.store(littleEndian: new, at: offset)
            guard let decoded = unsafe decoder.decode(copy.span.bytes, at: place), decoded.size == copy.count,
                decoded.mnemonic == instruction.mnemonic, decoded.relativeReference == target,
                decoded.operands.count == instruction.operands.count,
                zip(decoded.operands, instruction.operands).allSatisfy({ $0 == $1 || ($0.isRelative && $1.isRelative) })
            else { continue }
            return copy
        }
        return nil
    }

    /// A direct jump, with an offset of 32 bits.
    private static func jump(
        _ instruction: Instruction, _ original: [UInt8], at place: VirtualAddress, _ decoder: borrowing Decoder
    ) -> [UInt8]? {
        guard let target = instruction.target, let copy = longJump(original, at: place, to: target),
            let decoded = unsafe decoder.decode(copy.span.bytes, at: place), decoded.size == copy.count,
            decoded.mnemonic == instruction.mnemonic, decoded.target == target
        else { return nil }
        return copy
    }

    /// A jump such that the code behind it runs where the original goes on with the next instruction of a trace: nothing
    /// for one that always goes there, or else a jump to where it leads otherwise.
    static func step(
        from instruction: Instruction, _ original: [UInt8], to next: VirtualAddress, at place: VirtualAddress,
        _ decoder: borrowing Decoder
    ) -> [UInt8]? {
        guard let target = instruction.target, instruction.flow == .jump || instruction.flow == .branch else {
            return nil
        }
        if instruction.flow == .jump { return target == next ? [] : nil }
        guard target != instruction.next else { return nil }
        if next == instruction.next { return jump(instruction, original, at: place, decoder) }
        guard target == next, var copy = longJump(original, at: place, to: instruction.next), copy[0] == 0x0f else {
            return nil
        }
        // Conditions come in pairs of opposites.
        copy[1] ^= 1
        guard let decoded = unsafe decoder.decode(copy.span.bytes, at: place), decoded.size == copy.count,
            decoded.flow == .branch, decoded.target == instruction.next
        else { return nil }
        return copy
    }

    /// A direct jump under the same condition, if it has one.
    private static func longJump(
        _ original: [UInt8], at place: VirtualAddress, to target: VirtualAddress
    ) -> [UInt8]? {
        guard let opcode = original.first else { return nil }
        var copy: [UInt8]
        switch opcode {
        case 0xe9, 0xeb: copy = [0xe9]
        case 0x70...0x7f: copy = [0x0f, opcode + 0x10]
        case 0x0f where original.count == 6 && 0x80...0x8f ~= original[1]: copy = Array(original.prefix(2))
        default: return nil
        }
        guard let offset = X86Code.distance(from: place + UInt64(copy.count + 4), to: target) else { return nil }
        copy.append(littleEndian: offset)
        return copy
    }
}

extension Operand {
    fileprivate var isRelative: Bool {
        if case .memory(base: "rip", index: nil, _) = self { true } else { false }
    }
}
