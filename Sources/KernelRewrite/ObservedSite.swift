// SPDX-License-Identifier: MIT

// Which translations an instrumented kernel notes, as the audit hands them over:
// where the addresses are that the offset between virtual and physical ones is
// added to, and which instructions there can give way to a jump.

public import Addressing
public import Disassembly

/// An instruction that reads the offset, and all places where what it translates can be seen.
public struct ObservedSite: Equatable, Sendable {
    /// The bytes that a jump takes.
    public static let jumpBytes = 5

    /// A place where a register holds an address that will be translated.
    public struct Look: Equatable, Sendable {
        /// Run one after the other; those that the first `jumpBytes` take are entered at the first only.
        public let instructions: [Instruction]
        /// Whether those behind may be entered elsewhere, too, and jumps lead from one to the next.
        public let isTrace: Bool
        /// The instruction, one of these or the next, before which the register holds the address.
        public let place: VirtualAddress
        public let register: GeneralRegister
        /// What is added to it besides, in bytes.
        public let displacement: Int64
        /// Whether the address comes out of a physical one there, instead of being translated.
        public let isReverse: Bool

        public init(
            instructions: [Instruction], before place: VirtualAddress, register: GeneralRegister, displacement: Int64,
            isTrace: Bool = false, isReverse: Bool = false
        ) {
            self.instructions = instructions
            self.isTrace = isTrace
            self.isReverse = isReverse
            self.place = place
            self.register = register
            self.displacement = displacement
        }
    }

    public let address: VirtualAddress
    public let looks: [Look]

    public init(address: VirtualAddress, looks: [Look]) {
        self.address = address
        self.looks = looks
    }
}

extension Sequence<Instruction> {
    /// Whether these write all arithmetic flags before anything can read one.
    public var writeFlags: Bool {
        for instruction in self {
            switch instruction.mnemonic {
            case "add", "sub", "and", "or", "xor", "cmp", "test", "neg": return true
            case "shr", "shl", "sar":
                // A shift by nothing leaves the flags.
                guard case .immediate(let count) = instruction.operands.last else { return false }
                return instruction.operands.count == 2 && count & 31 != 0
            case "mov", "movabs", "movzx", "movsx", "movsxd", "lea", "push", "pop", "nop", "jmp": continue
            default: return false
            }
        }
        return false
    }
}
