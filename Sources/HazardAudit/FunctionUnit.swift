// SPDX-License-Identifier: MIT

// A function as a graph of basic blocks, decoded along its branches: into the
// parts that the compiler moved elsewhere (`name.cold`) and into what the kernel
// may put in the place of some of its code, but not into other functions. Code
// that no branch leads to is decoded, too, from what the branches left over, and
// begins with nothing known.

import Addressing
import Disassembly
import KernelImage

/// What a function's graph needs of an instruction.
protocol DecodedInstruction {
    var address: VirtualAddress { get }
    var next: VirtualAddress { get }
}

extension Instruction: DecodedInstruction {}
extension PlainInstruction: DecodedInstruction {}

/// Where control may go from an instruction, in its function or out of it, whatever patches are in force.
struct CodeWays {
    /// When it has done its work.
    var next: [VirtualAddress] = []
    /// Without it: it faults, or something else stands in its place.
    var instead: [VirtualAddress] = []
    /// Whether a register says where, and nothing else does.
    var isUnknown = false
}

/// Reads the code of one architecture.
protocol FunctionReader<Decoded>: ~Copyable {
    associatedtype Decoded: DecodedInstruction

    var subject: AuditSubject { get }
    /// Of instructions, in bytes.
    var alignment: Int { get }

    func decode(_ address: VirtualAddress) -> Decoded?
    func ways(from instruction: Decoded) -> CodeWays
    /// Whether it is only there to fill space between pieces of code.
    func isPadding(_ instruction: Decoded) -> Bool
    /// What begins at an address and may take the place of code elsewhere.
    func replacement(at address: VirtualAddress) -> Range<VirtualAddress>?
}

extension FunctionReader where Self: ~Copyable {
    func isPadding(_ instruction: Decoded) -> Bool { false }
    func replacement(at address: VirtualAddress) -> Range<VirtualAddress>? { nil }

    /// The function around an address, from symbol to symbol where none covers it. Nil where there is no code.
    func function(around address: VirtualAddress) -> Range<VirtualAddress>? {
        guard let section = subject.section(at: address), section.isExecutable else { return nil }
        guard let function = subject.index.function(at: address) else {
            return subject.index.gap(around: address).clamped(to: section.range)
        }
        return (function.value..<function.end).clamped(to: section.range)
    }
}

/// A function's blocks.
struct FunctionUnit<Decoded: DecodedInstruction> {
    struct Block {
        /// Of `instructions`.
        let range: Range<Int>
        /// Numbers of the blocks that come behind the last instruction.
        var next: [Int] = []
        /// Numbers of those that come without it.
        var instead: [Int] = []
        var successors: [Int] { instead.isEmpty ? next : next + instead.filter { !next.contains($0) } }
    }

    let function: Range<VirtualAddress>
    let instructions: [Decoded]
    private(set) var blocks: [Block] = []
    /// Numbers of the blocks where it begins: at the function's start, and where no branch leads.
    private(set) var roots: [Int] = []
    /// Addresses of the latter.
    var unexplained: [VirtualAddress] { roots.filter { !isStart($0) }.map { self.address(of: $0) } }
    /// Addresses at which no instruction was found.
    let undecoded: [VirtualAddress]
    /// Whether it is short enough to be looked at whole.
    let isComplete: Bool
    private var numbers: [VirtualAddress: Int] = [:]
    /// For each instruction, which may come next and before.
    private(set) var after: [[Int]] = []
    private(set) var before: [[Int]] = []

    init<Reader: FunctionReader & ~Copyable>(
        _ function: Range<VirtualAddress>, _ reader: borrowing Reader
    ) where Reader.Decoded == Decoded {
        var search = UnitSearch<Decoded>(function)
        search.run(reader)
        self.function = function
        undecoded = search.undecoded
        isComplete = search.isComplete
        instructions = search.found.values.sorted { $0.address < $1.address }
        link(search, reader)
    }

    private mutating func link<Reader: FunctionReader & ~Copyable>(
        _ search: UnitSearch<Decoded>, _ reader: borrowing Reader
    ) where Reader.Decoded == Decoded {
        var blockAt: [VirtualAddress: Int] = [:]
        var start = 0
        for (i, instruction) in instructions.enumerated() {
            numbers[instruction.address] = i
            let isLast =
                i + 1 == instructions.count || instructions[i + 1].address != instruction.next
                || search.leaders.contains(instruction.next)
            guard isLast else { continue }
            blockAt[instructions[start].address] = blocks.count
            blocks.append(Block(range: start..<i + 1))
            start = i + 1
        }
        // Where a jump by a register goes is not known, but not to code that a branch leads to.
        let others = search.unreached.sorted().compactMap { blockAt[$0] }
        for number in blocks.indices {
            let ways = reader.ways(from: instructions[blocks[number].range.upperBound - 1])
            blocks[number].next = ways.next.compactMap { blockAt[$0] } + (ways.isUnknown ? others : [])
            blocks[number].instead = ways.instead.compactMap { blockAt[$0] }
        }
        var isReached = [Bool](repeating: false, count: blocks.count)
        for root in (blockAt[function.lowerBound].map { [$0] } ?? []) + others where !isReached[root] {
            roots.append(root)
            var open = [root]
            while let block = open.popLast() {
                if isReached[block] { continue }
                isReached[block] = true
                open += blocks[block].successors
            }
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
    }

    /// The number of the instruction at an address.
    func number(at address: VirtualAddress) -> Int? { numbers[address] }

    /// Whether a block is where the function begins.
    func isStart(_ block: Int) -> Bool { address(of: block) == function.lowerBound }

    private func address(of block: Int) -> VirtualAddress { instructions[blocks[block].range.lowerBound].address }

    /// Numbers of the instructions that paths lead to, or come from, without passing one.
    func reached(from start: Int, along edges: KeyPath<FunctionUnit, [[Int]]>, except barrier: Int) -> Set<Int> {
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

/// Finds the instructions of a function, and where blocks begin.
private struct UnitSearch<Decoded: DecodedInstruction> {
    /// A function with more instructions is looked at only so far.
    private let limit = 60_000
    /// So many stretches of code away from the function belong to it.
    private let parts = 16

    private(set) var found: [VirtualAddress: Decoded] = [:]
    private(set) var leaders: Set<VirtualAddress>
    private(set) var unreached: Set<VirtualAddress> = []
    private(set) var undecoded: [VirtualAddress] = []
    private var extents: [Range<VirtualAddress>]
    private var replacements: [Range<VirtualAddress>] = []
    var isComplete: Bool { found.count < limit }

    init(_ function: Range<VirtualAddress>) {
        leaders = [function.lowerBound]
        extents = [function]
    }

    mutating func run<Reader: FunctionReader & ~Copyable>(_ reader: borrowing Reader) where Reader.Decoded == Decoded {
        follow(from: extents[0].lowerBound, reader)
        // What is left between the instructions, but for padding.
        var extent = 0
        while extent < extents.count {
            var at = extents[extent].lowerBound
            while at < extents[extent].upperBound, isComplete {
                if let instruction = found[at] {
                    at = instruction.next
                } else if let next = reader.decode(at) {
                    if reader.isPadding(next) {
                        at = next.next
                        continue
                    }
                    leaders.insert(at)
                    unreached.insert(at)
                    follow(from: at, reader)
                } else if let section = reader.subject.section(at: at), at - section.address < section.bytes.count {
                    undecoded.append(at)
                    at = at + UInt64(reader.alignment)
                } else {
                    // A damaged symbol reaches further than its section.
                    break
                }
            }
            extent += 1
        }
    }

    private mutating func follow<Reader: FunctionReader & ~Copyable>(
        from start: VirtualAddress, _ reader: borrowing Reader
    ) where Reader.Decoded == Decoded {
        var open = [start]
        while var at = open.popLast() {
            while found[at] == nil, isComplete, holds(at) {
                guard let instruction = reader.decode(at) else {
                    undecoded.append(at)
                    break
                }
                found[at] = instruction
                let ways = reader.ways(from: instruction)
                let next = instruction.next
                if ways.next != [next] || !ways.instead.isEmpty { leaders.insert(next) }
                for target in ways.next + ways.instead where target != next && goes(to: target, reader) {
                    leaders.insert(target)
                    if found[target] == nil { open.append(target) }
                }
                guard ways.next.contains(next) || ways.instead.contains(next) else { break }
                at = next
            }
        }
    }

    private func holds(_ address: VirtualAddress) -> Bool {
        extents.contains { $0.contains(address) } || replacements.contains { $0.contains(address) }
    }

    /// Whether a jump stays in the unit. One into the middle of another symbol, or to a part, widens it.
    private mutating func goes<Reader: FunctionReader & ~Copyable>(
        to target: VirtualAddress, _ reader: borrowing Reader
    ) -> Bool where Reader.Decoded == Decoded {
        if holds(target) { return true }
        if let replacement = reader.replacement(at: target) {
            replacements.append(replacement)
            return true
        }
        guard let other = reader.subject.index.function(at: target),
            other.value != target || reader.subject.isPart(other), extents.count < parts
        else { return false }
        extents.append(reader.subject.isPart(other) ? other.value..<other.end : target..<other.end)
        return true
    }
}
