// SPDX-License-Identifier: MIT

// Follows constants and what certain instructions read through a function, along
// all its paths, until nothing new is learnt. What is not modelled makes what it
// writes unknown.

import Addressing
import Disassembly

/// What may be in a register or a stack slot.
struct OffsetValue: Equatable {
    /// Known when every path brings the same.
    var constant: UInt64?
    /// Bytes from the stack pointer at entry.
    var stack: UInt64?
    /// Which reads of the offset it may be: a bit for each.
    var reads: UInt64 = 0
    /// Which reads it may be with something added.
    var sums: UInt64 = 0
    /// Which reads it may be the negative of.
    var negatives: UInt64 = 0
    /// What it is on one path, when others bring something else.
    var sometimes: UInt64?

    func merged(_ other: OffsetValue) -> OffsetValue {
        OffsetValue(
            constant: constant == other.constant ? constant : nil, stack: stack == other.stack ? stack : nil,
            reads: reads | other.reads, sums: sums | other.sums, negatives: negatives | other.negatives,
            sometimes: sometimes ?? other.sometimes
                ?? (constant == other.constant ? nil : constant ?? other.constant))
    }

    func adding(_ number: UInt64) -> OffsetValue {
        if number == 0 { return self }
        return OffsetValue(
            constant: constant.map { $0 &+ number }, stack: stack.map { $0 &+ number }, sums: reads | sums,
            sometimes: sometimes.map { $0 &+ number })
    }
}

/// Registers and stack slots at one place.
struct OffsetState: Equatable {
    private var registers = [OffsetValue](repeating: OffsetValue(), count: 34)
    private var slots: [UInt64: OffsetValue] = [:]

    init(stackPointer: Int?) {
        if let stackPointer { registers[stackPointer].stack = 0 }
    }

    subscript(register: Int) -> OffsetValue {
        get { register == PlainInstruction.zero ? OffsetValue(constant: 0) : registers[register] }
        set { if register < PlainInstruction.zero { registers[register] = newValue } }
    }

    func slot(_ place: UInt64) -> OffsetValue { slots[place] ?? OffsetValue() }

    mutating func store(_ value: OffsetValue, _ bytes: Int, at place: UInt64) {
        for other in slots.keys where other &- place < UInt64(bytes) || place &- other < 8 { slots[other] = nil }
        if bytes == 8, value != OffsetValue() { slots[place] = value }
    }

    /// Takes in what another path brings; false when nothing is new.
    mutating func merge(_ other: OffsetState) -> Bool {
        var merged = self
        for i in registers.indices { merged.registers[i] = registers[i].merged(other.registers[i]) }
        for place in Set(slots.keys).union(other.slots.keys) {
            let value = slot(place).merged(other.slot(place))
            merged.slots[place] = value == OffsetValue() ? nil : value
        }
        if merged == self { return false }
        self = merged
        return true
    }
}

/// What holds before each block of a function.
struct OffsetFlow {
    let unit: PlainUnit
    private let architecture: OffsetArchitecture
    private let offset: VirtualAddress
    private let numbers: [VirtualAddress: UInt64]
    private var entries: [OffsetState?]
    /// False when paths were too many to follow to the end.
    private(set) var isSettled = true

    /// Follows what up to 64 instructions read from the offset's address; none of them to learn which do.
    init(_ unit: PlainUnit, _ architecture: OffsetArchitecture, offset: VirtualAddress, reads: [VirtualAddress]) {
        self.unit = unit
        self.architecture = architecture
        self.offset = offset
        var numbers: [VirtualAddress: UInt64] = [:]
        for (i, read) in reads.enumerated() { numbers[read] = 1 << UInt64(i) }
        self.numbers = numbers
        entries = Array(repeating: nil, count: unit.blocks.count)
        for root in unit.roots {
            entries[root] = OffsetState(stackPointer: unit.isStart(root) ? architecture.stackPointer : nil)
        }
        var open = Array(unit.roots.reversed())
        var visits = 0
        while let number = open.popLast() {
            visits += 1
            guard visits < 60 * unit.blocks.count + 100, var state = entries[number] else {
                isSettled = false
                break
            }
            let block = unit.blocks[number]
            for i in block.range.dropLast() { step(unit.instructions[i], &state) { _, _ in } }
            bring(state, to: block.instead, &open)
            step(unit.instructions[block.range.upperBound - 1], &state) { _, _ in }
            bring(state, to: block.next, &open)
        }
    }

    private mutating func bring(_ state: OffsetState, to blocks: [Int], _ open: inout [Int]) {
        for next in blocks {
            if entries[next] == nil {
                entries[next] = state
                open.append(next)
            } else if entries[next]?.merge(state) == true, !open.contains(next) {
                open.append(next)
            }
        }
    }

    /// Shows every effect with what holds before it.
    func visit(_ body: (Int, PlainInstruction.Effect, OffsetState) -> Void) {
        for (number, block) in unit.blocks.enumerated() {
            guard var state = entries[number] else { continue }
            for i in block.range { step(unit.instructions[i], &state) { body(i, $0, $1) } }
        }
    }

    /// What holds behind each instruction at which control leaves, or that calls.
    func visitEnds(_ body: (Int, OffsetState) -> Void) {
        for (number, block) in unit.blocks.enumerated() {
            guard var state = entries[number] else { continue }
            for i in block.range {
                if unit.instructions[i].flow == .call || unit.after[i].isEmpty { body(i, state) }
                step(unit.instructions[i], &state) { _, _ in }
            }
        }
    }

    private func step(
        _ instruction: PlainInstruction, _ state: inout OffsetState,
        _ see: (PlainInstruction.Effect, OffsetState) -> Void
    ) {
        for effect in instruction.effects {
            see(effect, state)
            switch effect {
            case .set(let to, let value): state[to] = OffsetValue(constant: value)
            case .addConstant(let to, let from, let number): state[to] = state[from].adding(number)
            case .add(let to, let first, let second):
                let (a, b) = (state[first], state[second])
                if let number = a.constant {
                    state[to] = b.adding(number)
                } else if let number = b.constant {
                    state[to] = a.adding(number)
                } else {
                    state[to] = OffsetValue(sums: a.reads | a.sums | b.reads | b.sums)
                }
            case .subtract(let to, let first, let second):
                let (a, b) = (state[first], state[second])
                if first == PlainInstruction.zero {
                    state[to] = OffsetValue(constant: b.constant.map { 0 &- $0 }, negatives: b.reads)
                } else if let number = b.constant {
                    state[to] = a.adding(0 &- number)
                } else {
                    state[to] = OffsetValue(sums: a.reads | a.sums)
                }
            case .choose(let to, let first, let second): state[to] = state[first].merged(state[second])
            case .load(let to, let base, let displacement, let bytes):
                state[to] = loaded(instruction, state[base].adding(displacement), bytes, state)
            case .store(let from, let base, let displacement, let bytes):
                if let place = state[base].stack {
                    state.store(state[from], bytes, at: place &+ displacement)
                }
            case .use: break
            }
        }
        var written = instruction.writes | (instruction.flow == .call ? architecture.callerSaved : 0)
        while written != 0 {
            state[written.trailingZeroBitCount] = OffsetValue()
            written &= written - 1
        }
    }

    private func loaded(
        _ instruction: PlainInstruction, _ place: OffsetValue, _ bytes: Int, _ state: OffsetState
    ) -> OffsetValue {
        guard bytes == 8 else { return OffsetValue() }
        if place.constant == offset.rawValue, let number = numbers[instruction.address] {
            return OffsetValue(reads: number)
        }
        return place.stack.map(state.slot) ?? OffsetValue()
    }
}
