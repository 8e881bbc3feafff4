// SPDX-License-Identifier: MIT

// Reads functions of x86-64 kernels and modules: the jumps that instructions
// show, those of the kernel's tables, switch statements, and the code that takes
// the place of other code on some processors.

import Addressing
import Disassembly
import KernelImage

typealias CodeUnit = FunctionUnit<Instruction>

/// Finds the functions of what is audited.
struct CodeReader: ~Copyable, FunctionReader {
    let subject: AuditSubject
    let alignment = 1
    private let decoder = Decoder(.x86Bits64)
    private let edges: CodeEdges
    /// By where they begin.
    private var replacements: [VirtualAddress: Range<VirtualAddress>] = [:]
    /// Where what stands in the place of other code goes on, by its end.
    private var returns: [VirtualAddress: VirtualAddress] = [:]
    /// What may run in the place of code, by where that begins.
    private var patches: [VirtualAddress: [VirtualAddress]] = [:]

    init(_ subject: AuditSubject) {
        self.subject = subject
        edges = CodeEdges(subject)
        for patch in AlternativeTable.patches(ofX86: subject) {
            let original = patch.original
            if original.isEmpty { continue }
            if patch.replacement.isEmpty {
                patches[original.lowerBound, default: []].append(original.upperBound)
            } else {
                replacements[patch.replacement.lowerBound] = patch.replacement
                returns[patch.replacement.upperBound] = original.upperBound
                patches[original.lowerBound, default: []].append(patch.replacement.lowerBound)
            }
        }
    }

    /// The function around an address, whole. Code that no symbol covers, such as a weak function that another one
    /// replaced, is a unit from symbol to symbol. Nil where there is no code.
    func unit(around address: VirtualAddress) -> CodeUnit? {
        guard let range = function(around: address) else { return nil }
        let unit = CodeUnit(range, self)
        guard let function = subject.index.function(at: address), subject.isPart(function) else { return unit }
        // A part jumps back into what it is a part of.
        for block in unit.blocks {
            guard let target = unit.instructions[block.range].last?.jumpTarget,
                let whole = subject.index.function(at: target), whole.value != function.value,
                whole.value != target, !subject.isPart(whole)
            else { continue }
            let parent = CodeUnit(whole.value..<whole.end, self)
            if parent.number(at: address) != nil { return parent }
        }
        return unit
    }

    func decode(_ address: VirtualAddress) -> Instruction? {
        guard let section = subject.section(at: address), section.isExecutable else { return nil }
        let start = Int(address - section.address)
        guard start < section.bytes.count else { return nil }
        let end = min(start + 16, section.bytes.count)
        return unsafe decoder.decode(section.bytes.span.bytes.extracting(start..<end), at: address)
    }

    func isPadding(_ instruction: Instruction) -> Bool {
        instruction.mnemonic == "nop" || instruction.mnemonic == "int3"
    }

    func replacement(at address: VirtualAddress) -> Range<VirtualAddress>? { replacements[address] }

    func ways(from instruction: Instruction) -> CodeWays {
        var ways = CodeWays()
        let next = returns[instruction.next] ?? instruction.next
        switch instruction.flow {
        case .next, .call: ways.next = [next]
        case .branch: ways.next = [next] + (instruction.target.map { [$0] } ?? [])
        case .jump: ways.next = instruction.target.map { [$0] } ?? []
        case .farJump: break
        case .end:
            guard instruction.mnemonic == "jmp" else { break }
            ways.next = cases(of: instruction)
            if case .register = instruction.operands.first { ways.isUnknown = true }
        }
        edges.add(to: &ways, at: instruction.address, next: next)
        ways.instead += patches[instruction.address] ?? []
        return ways
    }

    /// Where a switch statement goes: addresses in this function that stand in a table which nobody writes.
    private func cases(of jump: Instruction) -> [VirtualAddress] {
        guard case .memory(base: nil, index: _?, let displacement) = jump.operands.first, jump.scale == 8,
            let function = subject.index.function(at: jump.address),
            case let table = VirtualAddress(UInt64(bitPattern: displacement)),
            let section = subject.section(at: table), !section.isWritable
        else { return [] }
        var targets: [VirtualAddress] = []
        for at in stride(from: Int(table - section.address), through: section.bytes.count - 8, by: 8) {
            let target = VirtualAddress(unsafe section.bytes.span.bytes.load(at, as: UInt64.self))
            guard let home = subject.index.function(at: target),
                home.value == function.value || subject.isPart(home) || subject.isPart(function)
            else { break }
            if !targets.contains(target) { targets.append(target) }
        }
        return targets
    }
}

extension Instruction {
    /// Where a jump goes, calls excepted.
    var jumpTarget: VirtualAddress? { flow == .branch || flow == .jump ? target : nil }
}

extension AlternativeTable {
    /// `struct alt_instr`, arch/x86/include/asm/alternative.h of Linux: since 6.3, since 5.13, before.
    private static let x86 = [
        AlternativeTable(section: ".altinstructions", entry: 14, originalSize: (12, 1), replacementSize: (13, 1)),
        AlternativeTable(section: ".altinstructions", entry: 12, originalSize: (10, 1), replacementSize: (11, 1)),
        AlternativeTable(section: ".altinstructions", entry: 13, originalSize: (10, 1), replacementSize: (11, 1)),
    ]

    static func patches(ofX86 subject: AuditSubject) -> [Patch] {
        x86.lazy.map { $0.patches(subject) }.first { !$0.isEmpty } ?? []
    }
}
