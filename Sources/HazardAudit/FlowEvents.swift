// SPDX-License-Identifier: MIT

// What a function does that others can see: calls, and stores outside its own
// registers, each with what the values may be there.

import Addressing
import Disassembly
import KernelImage

/// A call, or a jump to another function at the end of one.
struct CallEvent {
    let address: VirtualAddress
    /// Where it may lead; several for a call through a pointer that was read from a table.
    let targets: [VirtualAddress]
    let state: MachineState
    private let isJump: Bool

    /// What argument `i` is.
    func argument(_ i: Int) -> Value {
        if i < GeneralRegister.arguments.count { return state[GeneralRegister.arguments[i]] }
        guard let top = state[.rsp].stackOffset else { return .other }
        // A jump leaves the return address where it is.
        return state.slots[top &+ UInt64(8 * (i - 6) + (isJump ? 8 : 0))] ?? .other
    }

    init?(_ instruction: Instruction, _ state: MachineState, _ unit: CodeUnit, _ subject: AuditSubject) {
        let isCall = instruction.mnemonic == "call"
        isJump = !isCall
        guard isCall || instruction.mnemonic == "jmp" else { return nil }
        address = instruction.address
        self.state = state
        guard let target = instruction.target else {
            guard isCall, case .register(let name) = instruction.operands.first,
                let register = GeneralRegister(name: name)
            else { return nil }
            targets = Self.functions(state[register], subject)
            return
        }
        if !isCall, unit.number(at: target) != nil { return nil }
        let thunk = subject.index.covering(target).lazy.map { subject.name(of: $0) }
            .first { $0.hasPrefix(Self.thunk) }
        if let thunk, let register = GeneralRegister(name: String(thunk.dropFirst(Self.thunk.count))) {
            targets = Self.functions(state[register], subject)
        } else {
            targets = [target]
        }
    }

    private static let thunk = "__x86_indirect_thunk_"

    private static func functions(_ value: Value, _ subject: AuditSubject) -> [VirtualAddress] {
        value.roots.compactMap { root in
            guard root.origin == .number, root.form == .address, root.isExact else { return nil }
            let address = VirtualAddress(root.offset)
            return subject.section(at: address)?.isExecutable == true ? address : nil
        }
    }
}

/// A store to memory; to the stack, too.
struct StoreEvent {
    let address: VirtualAddress
    let place: Value
    /// In bytes.
    let width: Int
    let value: Value
}

/// All that a function does.
struct FunctionEvents {
    let unit: CodeUnit
    private(set) var calls: [CallEvent] = []
    private(set) var stores: [StoreEvent] = []
    /// Calls of a hypervisor, with what is in registers.
    private(set) var hypercalls: [(address: VirtualAddress, values: [Value])] = []
    let isSettled: Bool

    init(_ unit: CodeUnit, _ surroundings: FunctionFlow.Surroundings, _ subject: AuditSubject) {
        self.unit = unit
        let flow = FunctionFlow(unit, surroundings)
        isSettled = flow.isSettled
        guard isSettled else { return }
        flow.visit { instruction, _, state in
            if let call = CallEvent(instruction, state, unit, subject) {
                calls.append(call)
            } else if Rule.hypercalls.contains(instruction.mnemonic) {
                hypercalls.append((instruction.address, GeneralRegister.all.map { state[$0] }))
            } else if instruction.mnemonic == "mov", instruction.operands.count == 2,
                case .memory = instruction.operands[0]
            {
                stores.append(
                    StoreEvent(
                        address: instruction.address,
                        place: FunctionFlow.address(
                            instruction.operands[0], scale: instruction.scale, next: instruction.next, state),
                        width: instruction.width, value: flow.read(instruction.operands[1], instruction, state)))
            }
        }
    }
}
