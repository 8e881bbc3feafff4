// SPDX-License-Identifier: MIT

// Follows values through a function, along all its paths, until nothing new is
// learnt: an abstract interpretation over Value.swift. What an instruction does
// that is not modelled makes what it writes other, so that a value is never
// claimed where it might not be. Of memory the stack is followed here; what
// other memory may hold, the one who asks says.

import Addressing
import Disassembly

/// What may be in registers and stack slots before each block of a function.
struct FunctionFlow {
    /// What a function's own code does not say.
    struct Surroundings {
        /// What a load from a place outside the stack gives.
        var memory: (_ place: Value, Instruction) -> Value
        /// What a call gives; nil when it leaves all registers alone.
        var returned: (Instruction, MachineState) -> Value? = { _, _ in .other }
        /// Whether code that no branch leads to is followed, too.
        var followsUnreached = true
    }

    /// What a loop still brings after so many rounds with something new is not told apart any more.
    private static let patience = 8

    let unit: CodeUnit
    private let surroundings: Surroundings
    private(set) var entries: [MachineState?]
    /// How often a loop brought something new, by block.
    private var rounds: [Int]
    /// False when paths were too many to follow to the end.
    private(set) var isSettled = true

    init(_ unit: CodeUnit, _ surroundings: Surroundings) {
        self.unit = unit
        self.surroundings = surroundings
        entries = Array(repeating: nil, count: unit.blocks.count)
        rounds = Array(repeating: 0, count: unit.blocks.count)
        var roots: [Int] = []
        for root in unit.roots {
            var state = MachineState()
            if unit.isStart(root) {
                state = .entry
            } else if surroundings.followsUnreached {
                state[.rsp] = .other
            } else {
                continue
            }
            entries[root] = state
            roots.append(root)
        }
        var open = OpenBlocks(unit, roots)
        var visits = 0
        while let number = open.next() {
            visits += 1
            guard visits < 40 * unit.blocks.count + 100, var state = entries[number] else {
                isSettled = false
                break
            }
            let block = unit.blocks[number]
            for i in block.range.dropLast() { step(unit.instructions[i], &state) }
            bring(state, from: number, to: block.instead, &open)
            step(unit.instructions[block.range.upperBound - 1], &state)
            bring(state, from: number, to: block.next, &open)
        }
    }

    private mutating func bring(
        _ state: MachineState, from block: Int, to blocks: [Int], _ open: inout OpenBlocks
    ) {
        if blocks.isEmpty { return }
        var state = state
        state.compared = nil
        for next in blocks {
            let isLoop = open.leadsBack(from: block, to: next)
            if entries[next] == nil {
                entries[next] = state
                open.insert(next)
            } else if entries[next]?.merge(state, widening: isLoop && rounds[next] >= Self.patience) == true {
                if isLoop { rounds[next] += 1 }
                open.insert(next)
            }
        }
    }

    /// Follows what certain instructions read from an address: the first of them is base number 0.
    init(_ unit: CodeUnit, reads: [VirtualAddress], base: VirtualAddress) {
        var numbers: [VirtualAddress: UInt64] = [:]
        for (i, read) in reads.enumerated() { numbers[read] = 1 << UInt64(i) }
        self.init(
            unit,
            Surroundings { place, reader in
                place.constant == base.rawValue ? numbers[reader.address].map { Value(bases: $0) } ?? .other : .other
            })
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

    /// What holds behind a block's last instruction; nil when no path reaches it.
    func end(of number: Int) -> MachineState? {
        guard var state = entries[number] else { return nil }
        for i in unit.blocks[number].range { step(unit.instructions[i], &state) }
        return state
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
        var value: Value
        switch (part(base), part(index)) {
        case (let base?, let index?):
            value =
                operand.isIndexedByItself
                ? base.multiplied(by: UInt64(scale + 1)) : base.plus(index.multiplied(by: UInt64(scale)))
        case (let base?, nil): value = base
        case (nil, let index?): value = index.multiplied(by: UInt64(scale))
        case (nil, nil): return .constant(bytes)
        }
        let sum = Root.number(bytes)
        value = sum.isPlainNumber ? value.adding(bytes) : value.plus(.constant(bytes))
        return value
    }

    /// What a place read by an operand may hold.
    func read(_ operand: Operand, _ instruction: Instruction, _ state: MachineState) -> Value {
        switch operand {
        case .immediate(let value): return .constant(UInt64(bitPattern: value))
        case .register(let name):
            guard let register = GeneralRegister(name: name) else { return .other }
            switch GeneralRegister.width(of: name) {
            case 64: return state[register]
            case 32: return state[register].low
            case let bits:
                // The second byte of a register is not followed.
                return name.hasSuffix("h") ? .other : state[register].low.upTo(1 << UInt64(bits) - 1)
            }
        case .memory:
            let value: Value
            if let slot = Self.slot(operand, state) {
                value = state.load(instruction.width, at: slot)
            } else {
                let place = Self.address(operand, scale: instruction.scale, next: instruction.next, state)
                value = surroundings.memory(place, instruction)
            }
            switch instruction.width {
            case 1, 2: return value.upTo(1 << UInt64(8 * instruction.width) - 1)
            case 4: return value.low
            default: return value
            }
        }
    }

    private func write(_ value: Value, to operand: Operand?, _ instruction: Instruction, _ state: inout MachineState) {
        switch operand {
        case .register(let name):
            guard let register = GeneralRegister(name: name) else { return }
            state.forgetComparison(of: register)
            switch GeneralRegister.width(of: name) {
            case 64: state[register] = value
            case 32: state[register] = value.constant.map { .constant($0 & 0xffff_ffff) } ?? value.low
            default: state[register] = .other
            }
        case .memory:
            if let operand, let slot = Self.slot(operand, state) { state.store(value, instruction.width, at: slot) }
        case .immediate, nil: break
        }
    }

    private func step(_ instruction: Instruction, _ state: inout MachineState) {
        let operands = instruction.operands
        func value(_ i: Int) -> Value {
            i < operands.count ? read(operands[i], instruction, state) : .other
        }
        func write(_ value: Value) { self.write(value, to: operands.first, instruction, &state) }
        // Most of the branches, which are told by all the other names.
        if instruction.flow == .branch, instruction.writes.isEmpty { return }
        switch instruction.mnemonic {
        case "mov": write(value(1))
        case "cmp" where operands.count == 2:
            state.compared = MachineState.Comparison(first: operands[0], second: operands[1])
        case "cmp", "test", "nop": break
        case "movabs", "movzx", "movsxd": write(value(1))
        case "lea" where operands.count == 2:
            write(Self.address(operands[1], scale: instruction.scale, next: instruction.next, state))
        case "add" where operands.count == 2: write(value(0).plus(value(1)))
        case "inc" where operands.count == 1: write(value(0).adding(1))
        case "dec" where operands.count == 1: write(value(0).adding(.max))
        case "sub" where operands.count == 2: write(value(0).minus(value(1)))
        case "and" where operands.count == 2: write(value(0).and(value(1)))
        case "shl" where operands.count == 2:
            write(value(1).constant.map { value(0).multiplied(by: 1 << ($0 & 63)) } ?? .made(from: value(0)))
        case "imul" where operands.count == 3:
            write(value(2).constant.map { value(1).multiplied(by: $0) } ?? .made(from: value(1)))
        case "xor" where operands.count == 2 && operands[0] == operands[1]: write(.constant(0))
        case "or" where operands.count == 2:
            // As compilers set a bit of a register's second byte.
            if case .register(let name) = operands[0], name.hasSuffix("h"), let whole = GeneralRegister(name: name),
                let bits = value(1).constant
            {
                state.forgetComparison(of: whole)
                state[whole] = state[whole].or(.constant((bits & 0xff) << 8))
            } else {
                write(value(0).or(value(1)))
            }
        case "or", "xor", "shr", "sar", "imul", "rol", "ror", "not", "neg", "sbb", "adc":
            var made = value(0)
            for i in operands.indices.dropFirst() { made = Value.made(from: made, value(i)) }
            write(Value.made(from: made))
        case "push" where operands.count == 1, "pushfq":
            let pushed = value(0)
            state[.rsp] = state[.rsp].adding(UInt64(bitPattern: -8))
            if let slot = state[.rsp].stackOffset { state.store(pushed, 8, at: slot) }
        case "pop" where operands.count == 1:
            let popped = state[.rsp].stackOffset.map { state.load(8, at: $0) } ?? .other
            state[.rsp] = state[.rsp].adding(8)
            write(popped)
        case "popfq": state[.rsp] = state[.rsp].adding(8)
        case "leave":
            state[.rsp] = state[.rbp].adding(8)
            state[.rbp] = .other
        case "call":
            guard let result = surroundings.returned(instruction, state) else { break }
            for register in GeneralRegister.all where GeneralRegisters.callerSaved.contains(register) {
                state[register] = .other
            }
            state[.rax] = result
            state.compared = nil
        case let name where name.hasPrefix("cmov") && operands.count == 2:
            let chosen = chosen(by: name.dropFirst(4), operands, value(0), value(1), state)
            let compared = state.compared
            write(chosen)
            if operands.first != compared?.first && operands.first != compared?.second { state.compared = compared }
        case "rep stosq", "rep movsq", "rep stosb", "rep movsb", "rep stosd", "rep movsd":
            clear(instruction, &state)
            fallthrough
        default:
            for register in GeneralRegister.all where instruction.writes.contains(register) {
                state[register] = .other
                state.forgetComparison(of: register)
            }
            for operand in operands.prefix(1) {
                if let slot = Self.slot(operand, state) { state.store(.other, max(instruction.width, 1), at: slot) }
            }
        }
    }

    /// What a string instruction leaves of the slots that it writes.
    private func clear(_ instruction: Instruction, _ state: inout MachineState) {
        guard let from = state[.rdi].stackOffset, let count = state[.rcx].constant, count < 512 else { return }
        let bytes =
            count * UInt64(instruction.mnemonic.hasSuffix("q") ? 8 : instruction.mnemonic.hasSuffix("d") ? 4 : 1)
        for slot in state.slots.places where slot &- from < bytes { state.slots[slot] = nil }
        guard instruction.mnemonic.hasPrefix("rep stos"), state[.rax].constant == 0 else { return }
        for slot in stride(from: 0, to: bytes, by: 8) {
            state.store(.constant(0), Int(min(8, bytes - slot)), at: from &+ slot)
        }
    }

    /// What a conditional move leaves, which may be the smaller or the larger one of what was compared.
    private func chosen(
        by condition: Substring, _ operands: [Operand], _ old: Value, _ new: Value, _ state: MachineState
    ) -> Value {
        guard let compared = state.compared else { return old.merged(new) }
        func same(_ a: Operand, _ b: Operand) -> Bool {
            guard case .register(let first) = a, case .register(let second) = b else { return a == b }
            return GeneralRegister(name: first) == GeneralRegister(name: second)
        }
        let isInOrder = same(compared.first, operands[0]) && same(compared.second, operands[1])
        let isReversed = same(compared.first, operands[1]) && same(compared.second, operands[0])
        guard isInOrder || isReversed else { return old.merged(new) }
        switch condition {
        case "a", "ae", "g", "ge": return isInOrder ? old.smaller(new) : old.larger(new)
        case "b", "be", "l", "le": return isInOrder ? old.larger(new) : old.smaller(new)
        default: return old.merged(new)
        }
    }
}

/// Blocks that are to be followed: first those that lead to the others, so that what several paths bring to a block is
/// there when its turn comes. In whichever order else, a block is followed once for each path to it.
private struct OpenBlocks {
    private let order: [Int]
    private let ranks: [Int]
    private var isOpen: [Bool]
    private var first = 0

    init(_ unit: CodeUnit, _ roots: [Int]) {
        order = LoopOrder(unit.blocks.map(\.successors), roots: roots).blocks
        var ranks = [Int](repeating: 0, count: unit.blocks.count)
        for (rank, block) in order.enumerated() { ranks[block] = rank }
        self.ranks = ranks
        isOpen = Array(repeating: false, count: order.count)
        for root in roots { insert(root) }
    }

    func leadsBack(from block: Int, to next: Int) -> Bool { ranks[next] <= ranks[block] }

    mutating func insert(_ block: Int) {
        isOpen[ranks[block]] = true
        first = min(first, ranks[block])
    }

    mutating func next() -> Int? {
        while first < isOpen.count {
            if isOpen[first] {
                isOpen[first] = false
                return order[first]
            }
            first += 1
        }
        return nil
    }
}

extension Operand {
    /// `[rax + rax * 2]`: a product, not a sum.
    fileprivate var isIndexedByItself: Bool {
        if case .memory(let base?, let index?, _) = self { base == index } else { false }
    }
}

extension MachineState {
    /// Puts a value into the stack, and the parts of a number where they can be read on their own.
    mutating func store(_ value: Value, _ width: Int, at slot: UInt64) {
        slots[slot] = value
        for part in stride(from: 2, to: max(width, 2), by: 2) {
            slots[slot &+ UInt64(part)] = value.shifted(by: UInt64(8 * part))
        }
    }

    /// What is in the stack. A number that was written with fewer bytes than are read is one only if the bytes behind it
    /// fit.
    func load(_ width: Int, at slot: UInt64) -> Value {
        guard let value = slots[slot] else { return .other }
        guard value.range != nil || value.isPlainNumber else { return value }
        for part in stride(from: 2, to: max(width, 2), by: 2) {
            guard let behind = value.shifted(by: UInt64(8 * part)), slots[slot &+ UInt64(part)] == behind else {
                return .other
            }
        }
        return value
    }

    mutating func forgetComparison(of register: GeneralRegister) {
        func names(_ operand: Operand) -> Bool {
            switch operand {
            case .register(let name): GeneralRegister(name: name) == register
            case .memory(let base, let index, _):
                [base, index].contains { $0.flatMap(GeneralRegister.init(name:)) == register }
            case .immediate: false
            }
        }
        if let compared, names(compared.first) || names(compared.second) { self.compared = nil }
    }
}
