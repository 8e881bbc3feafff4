// SPDX-License-Identifier: MIT

// What a register or a stack slot may hold, as far as an audit cares: addresses
// that can be traced back to something static, to an argument or to the stack;
// what was computed from such an address by translation; the kernel's offset
// between virtual and physical addresses. Everything else is other.

import Disassembly

/// An address with a known beginning.
enum Root: Hashable, Comparable {
    /// A number; most are addresses of objects.
    case constant(UInt64)
    /// What the caller passed, plus bytes.
    case argument(Int, UInt64)
    /// Where the stack pointer was at entry, plus bytes.
    case stack(UInt64)
    /// More than is worth telling apart.
    case many

    static func + (root: Root, bytes: UInt64) -> Root {
        switch root {
        case .constant(let value): .constant(value &+ bytes)
        case .argument(let number, let offset): .argument(number, offset &+ bytes)
        case .stack(let offset): .stack(offset &+ bytes)
        case .many: .many
        }
    }
}

/// What may be in a place; several when paths meet.
struct Value: Equatable {
    /// These addresses themselves.
    var roots: [Root] = []
    /// Something made from these addresses.
    var derived: [Root] = []
    /// The offset between virtual and physical addresses, as read by the references with these numbers.
    var bases: UInt64 = 0
    /// Anything else.
    var isOther = false

    static let other = Value(isOther: true)

    static func constant(_ value: UInt64) -> Value { Value(roots: [.constant(value)]) }

    /// The number that is there for certain.
    var constant: UInt64? {
        guard roots.count == 1, derived.isEmpty, bases == 0, !isOther, case .constant(let value) = roots[0] else {
            return nil
        }
        return value
    }

    /// The bytes from the entry's stack pointer that it is away for certain.
    var stackOffset: UInt64? {
        guard roots.count == 1, derived.isEmpty, bases == 0, !isOther, case .stack(let offset) = roots[0] else {
            return nil
        }
        return offset
    }

    var isPlain: Bool { roots.isEmpty && derived.isEmpty && bases == 0 }

    /// What may be there when two paths meet.
    func merged(_ other: Value) -> Value {
        if self == other { return self }
        return Value(
            roots: Self.union(roots, other.roots), derived: Self.union(derived, other.derived),
            bases: bases | other.bases, isOther: isOther || other.isOther)
    }

    /// Plus a number.
    func adding(_ bytes: UInt64) -> Value {
        var sum = self
        sum.roots = roots.map { $0 + bytes }
        if bytes != 0, bases != 0 {
            sum.bases = 0
            sum.isOther = true
        }
        return sum
    }

    /// What arithmetic makes of two values.
    static func made(from a: Value, _ b: Value = Value()) -> Value {
        let traced = union(union(a.roots.traced, a.derived), union(b.roots.traced, b.derived))
        return Value(derived: traced, isOther: true)
    }

    private static func union(_ a: [Root], _ b: [Root]) -> [Root] {
        if a.isEmpty || a == b { return b }
        if b.isEmpty { return a }
        let all = Set(a).union(b).sorted()
        return all.count > 6 || all.contains(.many) ? [.many] : all
    }
}

extension [Root] {
    /// Without small numbers, which are no addresses.
    fileprivate var traced: [Root] {
        filter { if case .constant(let value) = $0 { value >= 1 << 20 } else { true } }
    }
}

/// Registers and stack slots at one place of a function.
struct MachineState: Equatable {
    var registers = [Value](repeating: .other, count: 16)
    /// By bytes from the entry's stack pointer.
    var slots: [UInt64: Value] = [:]

    /// What holds at the beginning of a function.
    static let entry: MachineState = {
        var state = MachineState()
        for (i, register) in GeneralRegister.arguments.enumerated() {
            state.registers[register.number] = Value(roots: [.argument(i, 0)])
        }
        state.registers[GeneralRegister.rsp.number] = Value(roots: [.stack(0)])
        return state
    }()

    subscript(_ register: GeneralRegister) -> Value {
        get { registers[register.number] }
        set { registers[register.number] = newValue }
    }

    /// Takes in what another path brings; false when nothing is new.
    mutating func merge(_ other: MachineState) -> Bool {
        var isNew = false
        for i in 0..<16 where registers[i] != other.registers[i] {
            let merged = registers[i].merged(other.registers[i])
            if merged != registers[i] {
                registers[i] = merged
                isNew = true
            }
        }
        for (offset, value) in slots {
            let merged = value.merged(other.slots[offset] ?? .other)
            if merged != value {
                slots[offset] = merged
                isNew = true
            }
        }
        for (offset, value) in other.slots where slots[offset] == nil && !value.isPlain {
            slots[offset] = value.merged(.other)
            isNew = true
        }
        return isNew
    }
}
