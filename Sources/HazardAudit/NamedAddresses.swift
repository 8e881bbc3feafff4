// SPDX-License-Identifier: MIT

// What comes of a physical address that stands in the code. `__pa_symbol(x)` is a
// constant, x - START_KERNEL_map, to which the offset is added; where the sum asks
// the table, the constant names no frame any more but only a page. That holds if
// nothing else is done with it: the constant is followed forward from where it
// gets into a register, on every path, to every instruction that may read it.
//
// A call may read what it gets in registers. A constant that is only left over
// from a sum stands in them, too: then the function that is called says whether it
// reads the register before it writes it.

import Addressing
import Disassembly
import KernelRewrite

/// Follows addresses that stand in the code of one function to the sums that ask a table for them.
struct NamedAddresses {
    /// A sum that asks, and the sites that read the offset which is added there.
    typealias Sums = [VirtualAddress: [(register: GeneralRegister, site: VirtualAddress)]]

    let unit: CodeUnit
    let sums: Sums

    init(_ unit: CodeUnit, _ sites: [TranslationSite]) {
        self.unit = unit
        var sums: Sums = [:]
        for site in sites {
            for look in site.rewritten?.looks ?? [] {
                sums[look.place, default: []].append((look.register, site.address))
            }
        }
        self.sums = sums
    }

    /// The sites that are all that comes of an address which the instruction with a number brings in; nil when something
    /// else does, or may.
    func askers(of source: Int, _ reader: borrowing CodeReader) -> Set<VirtualAddress>? {
        let instruction = unit.instructions[source]
        var askers: Set<VirtualAddress> = []
        if let own = sums[instruction.address] {
            // Its sum is that with the offset.
            return Set(own.map(\.site))
        }
        guard let first = Self.result(of: instruction) else { return nil }
        var open = [(number: source, register: first)]
        var seen: Set<[Int]> = []
        while let value = open.popLast() {
            guard seen.insert([value.number, value.register.number]).inserted else { continue }
            guard let readers = readers(of: value.register, behind: value.number, reader) else { return nil }
            for number in readers {
                let reading = unit.instructions[number]
                if let asking = sums[reading.address]?.filter({ $0.register == value.register }), !asking.isEmpty {
                    askers.formUnion(asking.map(\.site))
                } else if let next = Self.passed(value.register, by: reading) {
                    open.append((number, next))
                } else {
                    return nil
                }
            }
        }
        return askers.isEmpty ? nil : askers
    }

    /// Where an instruction that computes no more than a sum leaves it.
    private static func result(of instruction: Instruction) -> GeneralRegister? {
        guard ["mov", "movabs", "add", "sub", "lea"].contains(instruction.mnemonic),
            case .register(let name) = instruction.operands.first
        else { return nil }
        return GeneralRegister(name: name)
    }

    /// Where an instruction leaves what it reads from a register, whole or with a number added.
    private static func passed(_ register: GeneralRegister, by instruction: Instruction) -> GeneralRegister? {
        guard let result = result(of: instruction) ?? Self.moved(by: instruction), instruction.operands.count == 2
        else {
            return nil
        }
        switch (instruction.mnemonic, instruction.operands[1]) {
        case ("mov", .register(let from)): return GeneralRegister.width(of: from) == 64 ? result : nil
        case ("add", .immediate), ("sub", .immediate): return result
        case ("lea", .memory(_?, index: nil, _)): return result
        case (let name, .register(let from)) where name.hasPrefix("cmov"):
            return GeneralRegister.width(of: from) == 64 ? result : nil
        default: return nil
        }
    }

    private static func moved(by instruction: Instruction) -> GeneralRegister? {
        guard instruction.mnemonic.hasPrefix("cmov"), case .register(let name) = instruction.operands.first else {
            return nil
        }
        return GeneralRegister(name: name)
    }

    /// All instructions that may read a register with the value that an instruction left in it; nil when a function that
    /// is called or returned to may.
    private func readers(
        of register: GeneralRegister, behind number: Int, _ reader: borrowing CodeReader
    ) -> [Int]? {
        var readers: [Int] = []
        var open = unit.after[number]
        var seen = Set(open)
        if leaves(register, at: number, reader) { return nil }
        while let at = open.popLast() {
            let instruction = unit.instructions[at]
            if instruction.mnemonic != "call", instruction.mayRead(register) { readers.append(at) }
            if instruction.overwrites(register) { continue }
            if leaves(register, at: at, reader) { return nil }
            for next in unit.after[at] where seen.insert(next).inserted { open.append(next) }
        }
        return readers
    }

    /// Whether what an instruction calls, or goes on with elsewhere, may read a register.
    private func leaves(_ register: GeneralRegister, at number: Int, _ reader: borrowing CodeReader) -> Bool {
        let instruction = unit.instructions[number]
        if instruction.mnemonic == "call" {
            guard GeneralRegisters.callerSaved.contains(register) else { return false }
            return instruction.target.map { Self.reads(register, $0, 0, reader) } ?? true
        }
        switch instruction.flow {
        case .end: return instruction.mnemonic == "jmp" || instruction.mnemonic == "ret" && register == .rax
        case .jump, .branch:
            guard let target = instruction.target, unit.number(at: target) == nil else { return false }
            if Self.returns(target, reader) { return register == .rax }
            return GeneralRegisters.callerSaved.contains(register) && Self.reads(register, target, 0, reader)
        case .farJump: return true
        case .next, .call: return false
        }
    }

    private static func returns(_ target: VirtualAddress, _ reader: borrowing CodeReader) -> Bool {
        reader.decode(target)?.mnemonic == "ret"
    }

    /// How far calls are followed.
    private static let depth = 4

    /// Whether a function may read a register that it is entered with.
    private static func reads(
        _ register: GeneralRegister, _ function: VirtualAddress, _ level: Int, _ reader: borrowing CodeReader
    ) -> Bool {
        if returns(function, reader) { return false }
        guard level < depth, let unit = reader.unit(around: function), let start = unit.number(at: function) else {
            return true
        }
        var open = [start]
        var seen = Set(open)
        while let at = open.popLast() {
            let instruction = unit.instructions[at]
            if instruction.mnemonic == "call" || instruction.flow == .jump || instruction.flow == .branch {
                guard let target = instruction.target else { return true }
                let isOwn = instruction.mnemonic != "call" && unit.number(at: target) != nil
                if !isOwn, reads(register, target, level + 1, reader) { return true }
            } else if instruction.flow == .farJump || instruction.flow == .end && instruction.mnemonic == "jmp"
                || instruction.mayRead(register)
            {
                return true
            }
            if instruction.overwrites(register) { continue }
            for next in unit.after[at] where seen.insert(next).inserted { open.append(next) }
        }
        return false
    }
}

extension Instruction {
    /// Registers that instructions read besides their operands, by the first word of a mnemonic.
    private static let besides: [String: [String]] = {
        var besides: [String: [String]] = [:]
        let none = [
            "mov", "movabs", "movzx", "movsx", "movsxd", "lea", "add", "sub", "adc", "sbb", "and", "or", "xor", "cmp",
            "test", "shl", "shr", "sar", "rol", "ror", "inc", "dec", "neg", "not", "bt", "bts", "btr", "btc", "push",
            "pop", "nop", "jmp", "endbr64", "ud2", "int3", "bsf", "bsr", "tzcnt", "lfence", "mfence", "pause", "ret",
            "rdrand", "rdseed", "rdtsc", "cli", "sti",
        ]
        for name in none { besides[name] = [] }
        let strings = ["stosb", "stosd", "stosq", "movsb", "movsd", "movsq"]
        for name in strings + ["rep"] { besides[name] = ["rax", "rcx", "rsi", "rdi"] }
        for name in ["mul", "div", "idiv", "cdq", "cqo", "cdqe", "cpuid", "rdmsr", "wrmsr"] {
            besides[name] = ["rax", "rcx", "rdx"]
        }
        return besides
    }()

    /// Whether it may read a register: an operand, or, of an instruction that is not known, any.
    fileprivate func mayRead(_ register: GeneralRegister) -> Bool {
        let isPlain =
            mnemonic.hasPrefix("j") || mnemonic.hasPrefix("cmov") || mnemonic.hasPrefix("set")
            || mnemonic == "imul" && operands.count > 1
        if !isPlain {
            let name = mnemonic.prefix { $0 != " " }
            guard let besides = Self.besides[String(name)], !besides.contains(register.description) else { return true }
        }
        if reads.contains(register) {
            // Cleared.
            let isCleared = ["xor", "sub"].contains(mnemonic) && operands.count == 2 && operands[0] == operands[1]
            if !isCleared { return true }
        }
        return operands.contains { operand in
            guard case .memory(let base, let index, _) = operand else { return false }
            return [base, index].contains { $0.flatMap(GeneralRegister.init(name:)) == register }
        }
    }

    /// Whether nothing is left of what was in a register.
    fileprivate func overwrites(_ register: GeneralRegister) -> Bool {
        // What a function gives back; the one that every function begins with for tracing gives nothing.
        if mnemonic == "call" { return register == .rax }
        guard writes.contains(register), !mnemonic.hasPrefix("cmov") else { return false }
        guard case .register(let name) = operands.first, GeneralRegister(name: name) == register else { return true }
        return GeneralRegister.width(of: name) >= 32
    }
}
