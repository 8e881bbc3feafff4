// SPDX-License-Identifier: MIT

// Follows values through a function, along all its paths, until nothing new is
// learnt: an abstract interpretation over Value.swift. What an instruction does
// that is not modelled makes what it writes other, so that a value is never
// claimed where it might not be; memory other than the stack is not followed.

import Addressing
import Disassembly

/// What may be in registers and stack slots before each block of a function.
struct FunctionFlow {
    let unit: CodeUnit
    private let memory: (VirtualAddress, VirtualAddress) -> Value
    private(set) var entries: [MachineState?]
    /// False when paths were too many to follow to the end.
    private(set) var isSettled = true

    /// - Parameter memory: what a load from an address gives, by the instruction there.
    init(_ unit: CodeUnit, memory: @escaping (VirtualAddress, VirtualAddress) -> Value) {
        self.unit = unit
        self.memory = memory
        entries = Array(repeating: nil, count: unit.blocks.count)
        var open: [Int] = []
        for (i, root) in unit.roots.enumerated() {
            var state = i == 0 ? MachineState.entry : MachineState()
            if i > 0 { state[.rsp] = .other }
            entries[root] = state
            open.append(root)
        }
        var visits = 0
        while let number = open.popLast() {
            visits += 1
            guard visits < 40 * unit.blocks.count + 100, var state = entries[number] else {
                isSettled = false
                break
            }
            for i in unit.blocks[number].range { step(unit.instructions[i], &state) }
            for next in unit.blocks[number].successors {
                if entries[next] == nil {
                    entries[next] = state
                    open.append(next)
                } else if entries[next]?.merge(state) == true, !open.contains(next) {
                    open.append(next)
                }
            }
        }
    }

    /// Follows what certain instructions read from an address: the first of them is base number 0.
    init(_ unit: CodeUnit, reads: [VirtualAddress], base: VirtualAddress) {
        var numbers: [VirtualAddress: UInt64] = [:]
        for (i, read) in reads.enumerated() { numbers[read] = 1 << UInt64(i) }
        self.init(unit) { place, reader in
            place == base ? numbers[reader].map { Value(bases: $0) } ?? .other : .other
        }
    }

    /// Shows every instruction with what holds before it.
    func visit(_ body: (Instruction, _ number: Int, MachineState) -> Void) {
        for (number, block) in unit.blocks.enumerated() {
            guard var state = entries[number] else { continue }
            for i in block.range {
                body(unit.instructions[i], i, state)
                step(unit.instructions[i], &state)
            }
        }
    }

    /// The address that a memory operand names, relative to the stack at entry.
    static func slot(_ operand: Operand, _ state: MachineState) -> UInt64? {
        guard case .memory(let base?, index: nil, let displacement) = operand,
            let register = GeneralRegister(name: base), let offset = state[register].stackOffset
        else { return nil }
        return offset &+ UInt64(bitPattern: displacement)
    }

    /// What a memory operand names, as a value: the sum of its parts.
    static func address(_ operand: Operand, scale: Int, next: VirtualAddress, _ state: MachineState) -> Value {
        guard case .memory(let base, let index, let displacement) = operand else { return .other }
        let bytes = UInt64(bitPattern: displacement)
        if base == "rip" { return .constant(next.rawValue &+ bytes) }
        func part(_ name: String?) -> Value? { name.map { GeneralRegister(name: $0).map { state[$0] } ?? .other } }
        var value = part(base) ?? .constant(0)
        if let factor = part(index) {
            value = sum(value, scale == 1 ? factor : factor.constant.map { .constant($0 &* UInt64(scale)) } ?? .other)
        }
        return value.adding(bytes)
    }

    /// What a place read by an operand may hold.
    func read(_ operand: Operand, _ instruction: Instruction, _ state: MachineState) -> Value {
        switch operand {
        case .immediate(let value): return .constant(UInt64(bitPattern: value))
        case .register(let name):
            guard let register = GeneralRegister(name: name) else { return .other }
            let value = state[register]
            switch GeneralRegister.width(of: name) {
            case 64: return value
            case 32:
                if let number = value.constant { return .constant(number & 0xffff_ffff) }
                var half = Value.made(from: value)
                half.bases = value.bases
                return half
            default: return .other
            }
        case .memory:
            if let slot = Self.slot(operand, state) { return state.slots[slot] ?? .other }
            let place = Self.address(operand, scale: instruction.scale, next: instruction.next, state)
            return place.constant.map { memory(VirtualAddress($0), instruction.address) } ?? .other
        }
    }

    static func sum(_ a: Value, _ b: Value) -> Value {
        if let number = b.constant, number < 1 << 20 || number > UInt64.max - 1 << 20 || a.constant != nil {
            return a.adding(number)
        }
        if let number = a.constant, number < 1 << 20 || number > UInt64.max - 1 << 20 { return b.adding(number) }
        // The kernel's own offset between an image address and a number: x - __START_KERNEL_map.
        if let number = b.constant, number == 1 << 31 { return a.adding(number) }
        if let number = a.constant, number == 1 << 31 { return b.adding(number) }
        return Value.made(from: a, b)
    }

    private func write(_ value: Value, to operand: Operand?, _ state: inout MachineState) {
        switch operand {
        case .register(let name):
            guard let register = GeneralRegister(name: name) else { return }
            switch GeneralRegister.width(of: name) {
            case 64: state[register] = value
            case 32: state[register] = value.constant.map { .constant($0 & 0xffff_ffff) } ?? value
            default: state[register] = .other
            }
        case .memory:
            if let operand, let slot = Self.slot(operand, state) { state.slots[slot] = value }
        case .immediate, nil: break
        }
    }

    private func step(_ instruction: Instruction, _ state: inout MachineState) {
        let operands = instruction.operands
        func value(_ i: Int) -> Value {
            i < operands.count ? read(operands[i], instruction, state) : .other
        }
        switch instruction.mnemonic {
        case "mov", "movabs": write(value(1), to: operands.first, &state)
        case "lea" where operands.count == 2:
            write(
                Self.address(operands[1], scale: instruction.scale, next: instruction.next, state),
                to: operands.first, &state)
        case "add" where operands.count == 2:
            write(Self.sum(value(0), value(1)), to: operands.first, &state)
        case "inc" where operands.count == 1: write(value(0).adding(1), to: operands.first, &state)
        case "dec" where operands.count == 1: write(value(0).adding(.max), to: operands.first, &state)
        case "sub" where operands.count == 2:
            if let number = value(1).constant {
                write(Self.sum(value(0), .constant(0 &- number)), to: operands.first, &state)
            } else {
                write(Value.made(from: value(0), value(1)), to: operands.first, &state)
            }
        case "xor" where operands.count == 2 && operands[0] == operands[1]:
            write(.constant(0), to: operands.first, &state)
        case "or", "and", "xor", "shl", "shr", "sar", "imul", "rol", "ror", "not", "neg", "sbb", "adc":
            var made = value(0)
            for i in operands.indices.dropFirst() { made = Value.made(from: made, value(i)) }
            write(Value.made(from: made), to: operands.first, &state)
        case "push" where operands.count == 1:
            let pushed = value(0)
            state[.rsp] = state[.rsp].adding(UInt64(bitPattern: -8))
            if let slot = state[.rsp].stackOffset { state.slots[slot] = pushed }
        case "pop" where operands.count == 1:
            let popped = state[.rsp].stackOffset.flatMap { state.slots[$0] } ?? .other
            state[.rsp] = state[.rsp].adding(8)
            write(popped, to: operands.first, &state)
        case "leave":
            state[.rsp] = state[.rbp].adding(8)
            state[.rbp] = .other
        case "call":
            for register in GeneralRegister.all where GeneralRegisters.callerSaved.contains(register) {
                state[register] = .other
            }
        case "cmp", "test", "nop": break
        case let name where name.hasPrefix("cmov") && operands.count == 2:
            write(value(0).merged(value(1)), to: operands.first, &state)
        default:
            for register in GeneralRegister.all where instruction.writes.contains(register) {
                state[register] = .other
            }
            for operand in operands.prefix(1) {
                if let slot = Self.slot(operand, state) { state.slots[slot] = .other }
            }
        }
    }
}
