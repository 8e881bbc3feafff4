// SPDX-License-Identifier: MIT

// A function as a graph of basic blocks, decoded along its branches: into the
// parts that the compiler moved elsewhere (`name.cold`), but not into other
// functions. Code that no branch leads to (the kernel patches jumps to it while
// it runs, or an exception table names it) is decoded, too, from what the
// branches left over, and begins with nothing known.

import Addressing
import Disassembly
import KernelImage

/// Finds the functions of what is audited.
struct CodeReader: ~Copyable {
    let subject: AuditSubject
    private let decoder = Decoder(.x86Bits64)
    private let edges: CodeEdges

    init(_ subject: AuditSubject) {
        self.subject = subject
        edges = CodeEdges(subject)
    }

    /// The function around an address, whole. Code that no symbol covers, such as a weak function that another one
    /// replaced, is a unit from symbol to symbol. Nil where there is no code.
    func unit(around address: VirtualAddress) -> CodeUnit? {
        guard let section = subject.section(at: address), section.isExecutable else { return nil }
        guard let function = subject.index.function(at: address) else {
            return self.unit(of: subject.index.gap(around: address).clamped(to: section.range))
        }
        let unit = unit(of: function.value..<function.end)
        guard subject.isPart(function) else { return unit }
        // A part jumps back into what it is a part of.
        for block in unit.blocks {
            guard let target = unit.instructions[block.range].last?.jumpTarget,
                let whole = subject.index.function(at: target), whole.value != function.value,
                whole.value != target, !subject.isPart(whole)
            else { continue }
            let parent = self.unit(of: whole.value..<whole.end)
            if parent.number(at: address) != nil { return parent }
        }
        return unit
    }

    private func unit(of function: Range<VirtualAddress>) -> CodeUnit {
        var found: [VirtualAddress: Instruction] = [:]
        var leaders: Set<VirtualAddress> = [function.lowerBound]
        var unreached: Set<VirtualAddress> = []
        var undecoded: [VirtualAddress] = []
        var extents = [function]
        func follow(from start: VirtualAddress) {
            var open = [start]
            while var at = open.popLast() {
                while found[at] == nil, found.count < CodeUnit.limit, extents.contains(where: { $0.contains(at) }) {
                    guard let instruction = decode(at) else {
                        undecoded.append(at)
                        break
                    }
                    found[at] = instruction
                    for target in [instruction.jumpTarget].compactMap({ $0 }) + edges[at]
                    where goes(to: target, &extents) {
                        if leaders.insert(target).inserted { open.append(target) }
                        leaders.insert(instruction.next)
                    }
                    if !instruction.goesOn { break }
                    at = instruction.next
                }
            }
        }
        follow(from: function.lowerBound)
        // What is left between the instructions, but for padding.
        var extent = 0
        while extent < extents.count {
            var at = extents[extent].lowerBound
            while at < extents[extent].upperBound, found.count < CodeUnit.limit {
                if let instruction = found[at] {
                    at = instruction.next
                } else if let next = decode(at) {
                    if next.mnemonic == "nop" || next.mnemonic == "int3" {
                        at = next.next
                        continue
                    }
                    leaders.insert(at)
                    unreached.insert(at)
                    follow(from: at)
                } else if subject.section(at: at).map({ at - $0.address < UInt64($0.bytes.count) }) == true {
                    undecoded.append(at)
                    at = at + 1
                } else {
                    // A damaged symbol reaches further than its section.
                    break
                }
            }
            extent += 1
        }
        return CodeUnit(
            function, found, leaders, edges, unreached: unreached, undecoded: undecoded,
            isComplete: found.count < CodeUnit.limit)
    }

    private func decode(_ address: VirtualAddress) -> Instruction? {
        guard let section = subject.section(at: address), section.isExecutable else { return nil }
        let start = Int(address - section.address)
        guard start < section.bytes.count else { return nil }
        let end = min(start + 16, section.bytes.count)
        return unsafe decoder.decode(section.bytes.span.bytes.extracting(start..<end), at: address)
    }

    /// Whether a jump stays in the unit. One into the middle of another symbol, or to a part, widens it.
    private func goes(to target: VirtualAddress, _ extents: inout [Range<VirtualAddress>]) -> Bool {
        if extents.contains(where: { $0.contains(target) }) { return true }
        guard let other = subject.index.function(at: target), other.value != target || subject.isPart(other),
            extents.count < 16
        else { return false }
        extents.append(subject.isPart(other) ? other.value..<other.end : target..<other.end)
        return true
    }
}

extension Instruction {
    /// Where a jump goes, calls excepted.
    var jumpTarget: VirtualAddress? { flow == .branch || flow == .jump ? target : nil }

    /// Whether the next instruction may come next.
    var goesOn: Bool { flow != .jump && flow != .end && flow != .farJump }
}

/// A function's blocks.
struct CodeUnit {
    struct Block {
        /// Of `instructions`.
        let range: Range<Int>
        /// Numbers of blocks.
        var successors: [Int] = []
    }

    /// A function with more instructions is looked at only so far.
    static let limit = 60_000

    let function: Range<VirtualAddress>
    private(set) var instructions: [Instruction] = []
    private(set) var blocks: [Block] = []
    /// Numbers of the blocks where it begins: the first at the function's start, the others unreached by branches.
    private(set) var roots: [Int] = []
    /// Addresses at which no instruction was found.
    let undecoded: [VirtualAddress]
    let isComplete: Bool
    private var numbers: [VirtualAddress: Int] = [:]
    /// For each instruction, which may come next and before.
    private(set) var after: [[Int]] = []
    private(set) var before: [[Int]] = []

    init(
        _ function: Range<VirtualAddress>, _ found: [VirtualAddress: Instruction], _ leaders: Set<VirtualAddress>,
        _ edges: CodeEdges, unreached: Set<VirtualAddress>, undecoded: [VirtualAddress], isComplete: Bool
    ) {
        self.function = function
        self.undecoded = undecoded
        self.isComplete = isComplete
        instructions = found.values.sorted { $0.address < $1.address }
        for (i, instruction) in instructions.enumerated() { numbers[instruction.address] = i }
        var starts: [Int] = []
        for (i, instruction) in instructions.enumerated()
        where i == 0 || leaders.contains(instruction.address) || instructions[i - 1].next != instruction.address
            || !instructions[i - 1].goesOn
        {
            starts.append(i)
        }
        var blockAt: [VirtualAddress: Int] = [:]
        for (number, start) in starts.enumerated() {
            let end = number + 1 < starts.count ? starts[number + 1] : instructions.count
            blocks.append(Block(range: start..<end))
            blockAt[instructions[start].address] = number
        }
        for number in blocks.indices {
            let last = instructions[blocks[number].range.upperBound - 1]
            var next: [VirtualAddress] = []
            if let target = last.jumpTarget { next.append(target) }
            if last.goesOn { next.append(last.next) }
            next += edges[last.address]
            blocks[number].successors = next.compactMap { blockAt[$0] }
        }
        before = Array(repeating: [], count: instructions.count)
        after = before
        for block in blocks {
            for number in block.range {
                after[number] =
                    number + 1 < block.range.upperBound
                    ? [number + 1] : block.successors.map { blocks[$0].range.lowerBound }
                for next in after[number] { before[next].append(number) }
            }
        }
        roots = ([function.lowerBound] + unreached.sorted()).compactMap { blockAt[$0] }
    }

    /// The number of the instruction at an address.
    func number(at address: VirtualAddress) -> Int? { numbers[address] }

    /// Numbers of the instructions that paths lead to, or come from, without passing one.
    func reached(from start: Int, along edges: KeyPath<CodeUnit, [[Int]]>, except barrier: Int) -> Set<Int> {
        var open = [start]
        var seen: Set<Int> = []
        while let at = open.popLast() {
            for next in self[keyPath: edges][at] where next != barrier && seen.insert(next).inserted {
                open.append(next)
            }
        }
        return seen
    }
}
