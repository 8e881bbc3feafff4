// SPDX-License-Identifier: MIT

// Instructions of processors with three-operand arithmetic and separate loads
// and stores (arm64, RISC-V), reduced to what they do to 64-bit registers. What
// is not modelled is still known to read and to write them.

public import Addressing

/// One decoded instruction of a load-store processor. Registers are numbers below 32, as they are encoded; 32 is the
/// one that is always zero, and 33 stands for what an operand makes of a register.
public struct PlainInstruction: Equatable, Sendable {
    public enum Effect: Equatable, Sendable {
        case set(Int, UInt64)
        case addConstant(to: Int, Int, UInt64)
        case add(to: Int, Int, Int)
        case subtract(to: Int, Int, Int)
        /// One of two, or the second with something done to it.
        case choose(to: Int, Int, Int)
        case load(to: Int, base: Int, displacement: UInt64, bytes: Int)
        case store(Int, base: Int, displacement: UInt64, bytes: Int)
        /// Read, for something else.
        case use(Int)
    }

    public static let zero = 32
    public static let unknown = 33

    public let address: VirtualAddress
    /// In bytes.
    public let size: Int
    /// As an assembler would have it.
    public let text: String
    /// In order.
    public let effects: [Effect]
    /// Other registers that it may write, a bit for each.
    public let writes: UInt64
    public let flow: Instruction.Flow
    /// Of a direct call, branch or jump.
    public let target: VirtualAddress?
    /// Whether it goes where a register says, and no return address does.
    public let isIndirectJump: Bool

    public var next: VirtualAddress { address + UInt64(size) }

    /// Registers that it may write, a bit for each.
    public var allWrites: UInt64 {
        effects.reduce(writes) { writes, effect in
            switch effect {
            case .set(let to, _), .addConstant(let to, _, _), .add(let to, _, _), .subtract(let to, _, _),
                .choose(let to, _, _), .load(let to, _, _, _):
                writes | 1 << UInt64(to)
            case .store, .use: writes
            }
        } & ~(1 << UInt64(Self.zero))
    }
}
