// SPDX-License-Identifier: MIT

// Decoded instructions, for those who follow code: what an instruction is, what
// it refers to, where it may go.

public import Addressing
import CCapstone

/// An operand, as far as followers of code care.
public enum Operand: Equatable, Sendable {
    /// A register by its name in the manual's lower case ("rax", "eax").
    case register(String)
    case immediate(Int64)
    /// `[base + index * scale + displacement]`; a missing base or index is nil.
    case memory(base: String?, index: String?, displacement: Int64)
}

/// One decoded instruction.
public struct Instruction: Equatable, Sendable {
    public enum Flow: Sendable {
        /// Goes on to the next instruction.
        case next
        /// A direct call: goes on after it, too.
        case call
        /// A direct conditional jump.
        case branch
        /// A direct unconditional jump.
        case jump
        /// A far jump with its target in the instruction (`ljmp $selector, $offset`).
        case farJump
        /// A return, an indirect jump, a halt or a trap: what follows is not its successor.
        case end
    }

    public let address: VirtualAddress
    /// In bytes.
    public let size: Int
    public let mnemonic: String
    public let operands: [Operand]
    /// What a memory operand's index is multiplied by.
    public let scale: Int
    /// How many bytes of memory an operand names; 0 without one.
    public let width: Int
    /// General registers that it reads as operands of their own, in whole or in part.
    public let reads: GeneralRegisters
    /// General registers that it may write, in whole or in part, named or not; a call writes more than this.
    public let writes: GeneralRegisters
    public let flow: Flow

    public var next: VirtualAddress { address + UInt64(size) }

    /// The target of a direct call or jump.
    public var target: VirtualAddress? {
        switch flow {
        case .call, .branch, .jump:
            if case .immediate(let value) = operands.first { VirtualAddress(UInt64(bitPattern: value)) } else { nil }
        case .next, .farJump, .end: nil
        }
    }

    /// The address that a memory operand relative to the instruction pointer names.
    public var relativeReference: VirtualAddress? {
        for operand in operands {
            if case .memory(base: "rip", index: nil, let displacement) = operand {
                return next + UInt64(bitPattern: displacement)
            }
        }
        return nil
    }

    /// Constants in the instruction that may be addresses: immediates, and displacements but for those from a register
    /// that is known to hold an address.
    public func constants(knownBases: some Collection<String>) -> [UInt64] {
        operands.compactMap {
            switch $0 {
            case .immediate(let value): flow == .next || flow == .farJump ? UInt64(bitPattern: value) : nil
            case .memory(let base, _, let displacement):
                base == "rip" || knownBases.contains(base ?? "") ? nil : UInt64(bitPattern: displacement)
            case .register: nil
            }
        }
    }
}

/// A disassembler for one processor mode.
@safe
public struct Decoder: ~Copyable {
    public enum Mode: Sendable {
        case x86Bits32
        case x86Bits64
    }

    /// capstone 4 sorts a table at the first instruction whose opcode alone names the accumulator (`or $1, %eax`), with
    /// no lock: another thread could find it half sorted and give such an instruction without that operand.
    private static let isPrepared: Bool = {
        let decoder = Decoder(unprepared: .x86Bits64)
        return unsafe decoder.decode([0x0d, 1, 0, 0, 0].span.bytes, at: VirtualAddress(0)) != nil
    }()

    private let capstone: Capstone
    private let mode: Mode

    public init(_ mode: Mode) {
        precondition(Self.isPrepared, "capstone decodes")
        self.init(unprepared: mode)
    }

    private init(unprepared mode: Mode) {
        self.mode = mode
        capstone = Capstone(CS_ARCH_X86, mode == .x86Bits32 ? CS_MODE_32 : CS_MODE_64)
    }

    /// The instruction that begins the bytes, or nil when they are none.
    public func decode(_ bytes: RawSpan, at address: VirtualAddress) -> Instruction? {
        if let known = unsafe capstone.decode(bytes, at: address, { unsafe translate($0) }) { return known }
        return MissingOpcode.begins(bytes).map {
            Instruction(
                address: address, size: $0.bytes.count, mnemonic: $0.mnemonic, operands: [], scale: 1, width: 0,
                reads: [],
                writes: [],
                flow: .next)
        }
    }

    /// All instructions of a stretch of code, up to the first bytes that are none.
    public func all(_ code: [UInt8], at address: VirtualAddress) -> [Instruction] {
        var found: [Instruction] = []
        var offset = 0
        while offset < code.count,
            let instruction = decode(
                unsafe code.span.bytes.extracting(offset..<code.count), at: address + UInt64(offset))
        {
            found.append(instruction)
            offset += instruction.size
        }
        return found
    }

    private func translate(_ raw: UnsafeMutablePointer<cs_insn>) -> Instruction {
        let mnemonic = unsafe withUnsafeBytes(of: &raw.pointee.mnemonic) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        var operands: [Operand] = []
        var (scale, width) = (1, 0)
        var (reads, writes) = (GeneralRegisters(), GeneralRegisters())
        if let detail = unsafe raw.pointee.detail {
            let count = unsafe Int(detail.pointee.x86.op_count)
            unsafe withUnsafeBytes(of: &detail.pointee.x86.operands) { bytes in
                let all = unsafe bytes.bindMemory(to: cs_x86_op.self)
                for i in 0..<min(count, all.count) {
                    let operand = unsafe all[i]
                    operands.append(translate(operand))
                    if operand.type == X86_OP_MEM { (scale, width) = (Int(operand.mem.scale), Int(operand.size)) }
                    guard operand.type == X86_OP_REG else { continue }
                    let register = Self.registers[Int(operand.reg.rawValue)].general
                    if operand.access & UInt8(CS_AC_READ.rawValue) != 0 { reads.formUnion(register) }
                    if operand.access & UInt8(CS_AC_WRITE.rawValue) != 0 { writes.formUnion(register) }
                }
            }
            let implicit = unsafe Int(detail.pointee.regs_write_count)
            unsafe withUnsafeBytes(of: &detail.pointee.regs_write) { bytes in
                let all = unsafe bytes.bindMemory(to: UInt16.self)
                for i in 0..<min(implicit, all.count) { writes.formUnion(Self.registers[Int(unsafe all[i])].general) }
            }
        }
        let flow = Self.flow(mnemonic, operands)
        let address = unsafe raw.pointee.address
        if mode == .x86Bits32, [.call, .branch, .jump].contains(flow), case .immediate(let target) = operands.first {
            // Targets are reckoned in 32 bits, while the code may be given at a kernel's virtual address.
            let whole = address & ~0xffff_ffff | UInt64(bitPattern: target) & 0xffff_ffff
            operands[0] = .immediate(Int64(bitPattern: whole))
        }
        return Instruction(
            address: VirtualAddress(address), size: Int(unsafe raw.pointee.size), mnemonic: mnemonic,
            operands: operands,
            scale: scale, width: width, reads: reads, writes: writes, flow: flow)
    }

    /// What capstone's registers are called, and the general registers that they are parts of.
    private static let registers: [(name: String, general: GeneralRegisters)] = {
        let decoder = Decoder(unprepared: .x86Bits64)
        return (0..<X86_REG_ENDING.rawValue).map { number in
            let name = decoder.capstone.name(of: number)
            return (name, GeneralRegister(name: name).map { GeneralRegisters($0) } ?? [])
        }
    }()

    private func translate(_ operand: cs_x86_op) -> Operand {
        switch operand.type {
        case X86_OP_REG: .register(name(operand.reg) ?? "")
        case X86_OP_IMM: .immediate(operand.imm)
        default:
            .memory(
                base: name(operand.mem.base), index: name(operand.mem.index), displacement: operand.mem.disp)
        }
    }

    private func name(_ register: x86_reg) -> String? {
        register == X86_REG_INVALID ? nil : Self.registers[Int(register.rawValue)].name
    }

    private static func flow(_ mnemonic: String, _ operands: [Operand]) -> Instruction.Flow {
        var direct = false
        if case .immediate = operands.first { direct = true }
        return switch mnemonic {
        case "call": direct ? .call : .next
        case "jmp": direct ? .jump : .end
        case "ljmp": direct ? .farJump : .end
        case "ret", "retf", "retfq", "iret", "iretd", "iretq", "hlt", "ud2", "int3", "sysret", "sysexit": .end
        case "loop", "loope", "loopne": .branch
        default: mnemonic.hasPrefix("j") ? .branch : .next
        }
    }
}
