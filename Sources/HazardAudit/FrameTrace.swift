// SPDX-License-Identifier: MIT

// Follows what a function makes of the offset between virtual and physical
// addresses up to comparisons with frames: FrameTestFinder.swift says what for.

import Addressing
import Disassembly
import KernelImage
import KernelRewrite

struct FrameTrace {
    struct Problem: Error {
        let reason: String
    }

    /// From where to where a class of pages lies.
    struct Markers {
        let start: VirtualAddress
        let end: VirtualAddress
        /// The names of both.
        let names: [String]
        let map: PageMap
    }

    /// What was made of an address of the image by adding the offset.
    private struct End: Equatable {
        let address: VirtualAddress
        var isFrame = false
        /// What was taken off it.
        var less: Int64 = 0
    }

    private struct Comparison {
        let number: Int
        let end: End
        let bound: GeneralRegister
        let other: GeneralRegister
        let isBoundFirst: Bool
    }

    private static let startKernelMap: UInt64 = 0xffff_ffff_8000_0000
    /// No range test seen is longer, in instructions.
    private static let most = 24

    private let function: String
    private let unit: CodeUnit
    private let isSettled: Bool
    /// What the offset is added to, by the number of the instruction that does so, and where the sum goes.
    private var sums: [Int: (address: UInt64, result: GeneralRegister)] = [:]
    /// What START_KERNEL_MAP less the offset is in, by the number of the instruction that subtracts.
    private var reverses: [Int: GeneralRegister] = [:]
    /// Registers that hold something known, by the number of a comparison.
    private var known: [Int: Set<GeneralRegister>] = [:]

    /// - Parameters:
    ///   - function: its name.
    ///   - read: the instruction that reads the offset.
    ///   - base: where that is.
    init(_ function: String, _ unit: CodeUnit, _ read: VirtualAddress, _ base: VirtualAddress) {
        self.function = function
        self.unit = unit
        let flow = FunctionFlow(unit, reads: [read], base: base)
        isSettled = flow.isSettled
        var (sums, reverses, known) = (sums, reverses, known)
        flow.visit { instruction, number, state in
            for (bases, use) in SiteFinder.uses(of: instruction, number, flow, state) where bases != 0 {
                if use.reverse, let register = use.register, state[register].constant == Self.startKernelMap {
                    reverses[number] = register
                } else if let constant = use.constant, let result = use.result {
                    sums[number] = (constant, result)
                }
            }
            guard instruction.mnemonic == "cmp" else { return }
            for register in GeneralRegister.all where state[register].constant != nil {
                known[number, default: []].insert(register)
            }
        }
        (self.sums, self.reverses, self.known) = (sums, reverses, known)
    }

    /// The two comparisons with the ends of a range.
    func range(_ markers: Markers, reason: String) throws(Problem) -> [FrameStep] {
        let (found, bounds) = try comparisons(markers)
        guard let first = found.first, let second = found.last, found.count == 2,
            let start = found.first(where: { $0.end.address == markers.start }),
            let end = found.first(where: { $0.end.address == markers.end }),
            first.end.isFrame == second.end.isFrame, start.end.less == 0,
            let held = bounds.first(where: { $0.value == start.end })?.key
        else { throw Problem(reason: "frames are not compared with both ends, one after the other") }
        for number in first.number..<second.number where unit.instructions[number].writes.contains(second.other) {
            throw Problem(reason: "a frame is not known where the first end is compared")
        }
        let isAddress = !start.end.isFrame
        let offset = markers.start - markers.map.virtualBase
        let question = FrameStep.Question(
            start: held, offset: isAddress ? Int(offset) : Int(offset) / pageSize, low: end.other, high: start.other,
            isAddress: isAddress, isInclusive: try isInclusive(start),
            pages: markers.map.pages(of: markers.start..<markers.end))
        func step(_ comparison: Comparison, _ work: FrameStep.Work) throws(Problem) -> FrameStep {
            let instruction = unit.instructions[comparison.number]
            let look = ObservedSite.Look(
                instructions: try run(from: comparison.number, atLeast: 1), before: instruction.address,
                register: comparison.other, displacement: 0)
            let name = markers.names[comparison.end.address == markers.start ? 0 : 1]
            let evidence = "\(function): \(instruction.address) compares frames with \(name)"
            return FrameStep(look, work, reason: reason, evidence: evidence)
        }
        func isBeyond(_ comparison: Comparison) -> Bool { comparison.end.address == markers.start }
        return [
            try step(first, .compare(bound: first.bound, isBeyond: isBeyond(first), question)),
            try step(second, .agree(bound: second.bound, isBeyond: isBeyond(second))),
        ]
    }

    /// Where an address of the image is made of a frame.
    func name(reason: String) throws(Problem) -> FrameStep {
        guard isSettled, reverses.count == 1, let start = reverses.first else {
            throw Problem(reason: "START_KERNEL_MAP is added to frames \(reverses.count) times where once is expected")
        }
        var register = start.value
        for number in start.key + 1..<min(start.key + Self.most, unit.instructions.count) {
            let instruction = unit.instructions[number]
            guard unit.before[number] == [number - 1], instruction.flow == .next, instruction.mnemonic != "call" else {
                break
            }
            let operands = instruction.operands.compactMap(\.wholeRegister)
            switch instruction.mnemonic {
            case "add" where operands.count == 2 && operands.contains(register):
                register = operands[0]
                let run = try run(from: number, atLeast: 2)
                let look = ObservedSite.Look(
                    instructions: run, before: instruction.next, register: register, displacement: 0)
                return FrameStep(
                    look, .name, reason: reason,
                    evidence: "\(function): \(instruction.address) adds START_KERNEL_MAP to the address of a frame")
            case "mov" where operands.count == 2 && operands[1] == register: register = operands[0]
            default:
                if instruction.writes.contains(register) {
                    throw Problem(reason: "it is not seen which address is made of a frame")
                }
            }
        }
        throw Problem(reason: "it is not seen which address is made of a frame")
    }

    /// The comparisons of something unknown with the ends, and what registers hold at the first.
    private func comparisons(
        _ markers: Markers
    ) throws(Problem) -> (found: [Comparison], bounds: [GeneralRegister: End]) {
        let (start, base) = (markers.map.virtualBase, markers.map.physicalBase.rawValue)
        let ends = [markers.start - start + base, markers.end - start + base]
        guard isSettled, let first = sums.filter({ ends.contains($0.value.address) }).keys.min() else {
            throw Problem(reason: "it is not seen where the ends of a range are computed")
        }
        var held: [GeneralRegister: End] = [:]
        var bounds = held
        var found: [Comparison] = []
        for number in first..<min(first + Self.most, unit.instructions.count) where found.count < 2 {
            let instruction = unit.instructions[number]
            guard number == first || unit.before[number] == [number - 1],
                [.next, .branch].contains(instruction.flow), instruction.mnemonic != "call"
            else { throw Problem(reason: "other code leads between the comparisons with the ends of a range") }
            if let sum = sums[number], let index = ends.firstIndex(of: sum.address) {
                held[sum.result] = End(address: index == 0 ? markers.start : markers.end)
            } else if instruction.mnemonic == "cmp" {
                guard let comparison = try comparison(number, held) else { continue }
                if found.isEmpty { bounds = held }
                found.append(comparison)
            } else {
                Self.follow(instruction, &held)
            }
        }
        return (found, bounds)
    }

    private func comparison(_ number: Int, _ held: [GeneralRegister: End]) throws(Problem) -> Comparison? {
        let operands = unit.instructions[number].operands
        let registers = operands.map(\.wholeRegister)
        let ends = registers.map { register in register.flatMap { held[$0] } }
        guard let bound = ends.firstIndex(where: { $0 != nil }), let end = ends[bound] else { return nil }
        guard operands.count == 2, ends[1 - bound] == nil, let register = registers[bound],
            let other = registers[1 - bound]
        else { throw Problem(reason: "an end of a range is compared with something that is in no register") }
        if known[number]?.contains(other) == true { return nil }
        return Comparison(number: number, end: end, bound: register, other: other, isBoundFirst: bound == 0)
    }

    /// What registers hold behind an instruction that adds no offset.
    private static func follow(_ instruction: Instruction, _ held: inout [GeneralRegister: End]) {
        let operands = instruction.operands
        let target = operands.first?.wholeRegister
        var end = target.flatMap { held[$0] }
        let amount: Int64? = if case .immediate(let number) = operands.last { number } else { nil }
        switch instruction.mnemonic {
        case "mov": end = operands.last?.wholeRegister.flatMap { held[$0] }
        case "shr" where amount == 12 && end?.isFrame == false && end?.less == 0: end?.isFrame = true
        case "sub" where amount != nil: end?.less += amount ?? 0
        case "add" where amount != nil: end?.less -= amount ?? 0
        case "dec": end?.less += 1
        // To where the frame lies in the linear map.
        case "add" where end?.isFrame == false: break
        case "lea":
            guard case .memory(let base?, let index, let displacement) = operands.last, instruction.scale == 1 else {
                end = nil
                break
            }
            let parts = [base, index].compactMap { $0.flatMap(GeneralRegister.init(name:)) }
            let ends = parts.compactMap { held[$0] }
            end = ends.count == 1 && (parts.count == 1 || !ends[0].isFrame) ? ends[0] : nil
            end?.less -= displacement
        default: end = nil
        }
        for register in GeneralRegister.all where instruction.writes.contains(register) { held[register] = nil }
        if let target, instruction.writes.contains(target) { held[target] = end }
    }

    /// Whether the last of the frames is itself meant: what follows asks for less than the beginning, not for no more.
    private func isInclusive(_ comparison: Comparison) throws(Problem) -> Bool {
        for number in comparison.number + 1..<min(comparison.number + 6, unit.instructions.count) {
            let name = unit.instructions[number].mnemonic
            for prefix in ["j", "set", "cmov"] where name.hasPrefix(prefix) {
                switch name.dropFirst(prefix.count) {
                case "b", "ae": return !comparison.isBoundFirst
                case "a", "be": return comparison.isBoundFirst
                default: throw Problem(reason: "\(name) follows a comparison of frames")
                }
            }
            guard ["mov", "movabs", "movzx", "lea", "nop"].contains(name) else { break }
        }
        throw Problem(reason: "nothing follows from a comparison of frames")
    }

    /// So many instructions from one on, or more, that can give way to a jump.
    private func run(from first: Int, atLeast count: Int) throws(Problem) -> [Instruction] {
        var run: [Instruction] = []
        var size = 0
        for number in first..<unit.instructions.count where run.count < count || size < ObservedSite.jumpBytes {
            let instruction = unit.instructions[number]
            guard run.isEmpty || unit.before[number] == [number - 1], instruction.mnemonic != "call",
                instruction.flow == .next || instruction.flow == .branch && instruction.target != nil
            else { break }
            run.append(instruction)
            size += instruction.size
            if instruction.flow == .branch { break }
        }
        guard run.count >= count, size >= ObservedSite.jumpBytes else {
            throw Problem(reason: "no room for a jump at \(unit.instructions[first].address)")
        }
        return run
    }
}

extension Operand {
    /// The register, of all 64 bits.
    fileprivate var wholeRegister: GeneralRegister? {
        guard case .register(let name) = self, GeneralRegister.width(of: name) == 64 else { return nil }
        return GeneralRegister(name: name)
    }
}
