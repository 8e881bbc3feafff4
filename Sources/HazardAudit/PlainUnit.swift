// SPDX-License-Identifier: MIT

// A function of a load-store processor as blocks, with the parts of it that the
// compiler moved away. Code that no branch leads to is decoded, too, and begins
// with nothing known.

import Addressing
import Disassembly
import KernelImage

/// A function's blocks.
struct PlainUnit {
    struct Block {
        /// Of `instructions`.
        let range: Range<Int>
        /// Numbers of blocks.
        var successors: [Int] = []
    }

    static let limit = 60_000

    let function: Range<VirtualAddress>
    private(set) var instructions: [PlainInstruction] = []
    private(set) var blocks: [Block] = []
    /// Numbers of the blocks where it begins: the first at the function's start, the others unreached by branches.
    private(set) var roots: [Int] = []
    /// Addresses of the latter.
    var unexplained: [VirtualAddress] {
        roots.dropFirst().map { instructions[blocks[$0].range.lowerBound].address }
    }
    let undecoded: [VirtualAddress]
    let isComplete: Bool
    private(set) var after: [[Int]] = []
    private(set) var before: [[Int]] = []

    init(_ function: Range<VirtualAddress>, _ reader: PlainReader) {
        self.function = function
        var found: [VirtualAddress: PlainInstruction] = [:]
        var leaders: Set<VirtualAddress> = [function.lowerBound]
        var unreached: Set<VirtualAddress> = []
        var undecoded: [VirtualAddress] = []
        var extents = [function]
        func follow(from start: VirtualAddress) {
            var open = [start]
            while var at = open.popLast() {
                while found[at] == nil, found.count < Self.limit, extents.contains(where: { $0.contains(at) }) {
                    guard let instruction = reader.decode(at) else {
                        undecoded.append(at)
                        break
                    }
                    found[at] = instruction
                    let next = reader.successors(of: instruction)
                    for target in next where target != instruction.next {
                        guard reader.goes(to: target, &extents) else { continue }
                        leaders.insert(target)
                        if found[target] == nil { open.append(target) }
                        leaders.insert(instruction.next)
                    }
                    guard next.contains(instruction.next) else { break }
                    at = instruction.next
                }
            }
        }
        follow(from: function.lowerBound)
        var extent = 0
        while extent < extents.count {
            var at = extents[extent].lowerBound
            while at < extents[extent].upperBound, found.count < Self.limit {
                if let instruction = found[at] {
                    at = instruction.next
                } else if reader.decode(at) != nil {
                    leaders.insert(at)
                    unreached.insert(at)
                    follow(from: at)
                } else {
                    undecoded.append(at)
                    at = at + UInt64(reader.architecture.alignment)
                }
            }
            extent += 1
        }
        self.undecoded = undecoded
        isComplete = found.count < Self.limit
        instructions = found.values.sorted { $0.address < $1.address }
        link(leaders, unreached, reader)
    }

    private mutating func link(
        _ leaders: Set<VirtualAddress>, _ unreached: Set<VirtualAddress>, _ reader: PlainReader
    ) {
        var starts: [Int] = []
        for (i, instruction) in instructions.enumerated() {
            let isFirst =
                i == 0 || leaders.contains(instruction.address) || instructions[i - 1].next != instruction.address
            if isFirst || reader.successors(of: instructions[i - 1]) != [instruction.address] { starts.append(i) }
        }
        var blockAt: [VirtualAddress: Int] = [:]
        for (number, start) in starts.enumerated() {
            let end = number + 1 < starts.count ? starts[number + 1] : instructions.count
            blocks.append(Block(range: start..<end))
            blockAt[instructions[start].address] = number
        }
        // Where a jump by a register goes is not known, but not to code that a branch leads to.
        var others = unreached.sorted().compactMap { blockAt[$0] }
        let isSwitch = instructions.contains(where: \.isIndirectJump)
        for number in blocks.indices {
            let last = instructions[blocks[number].range.upperBound - 1]
            blocks[number].successors =
                reader.successors(of: last).compactMap { blockAt[$0] } + (last.isIndirectJump ? others : [])
        }
        if isSwitch { others = [] }
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
        roots = (blockAt[function.lowerBound].map { [$0] } ?? []) + others
    }

    /// Numbers of the instructions that paths lead to, or come from, without passing one.
    func reached(from start: Int, along edges: KeyPath<PlainUnit, [[Int]]>, except barrier: Int) -> Set<Int> {
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

/// Reads the functions of what is audited.
struct PlainReader {
    let subject: AuditSubject
    let architecture: OffsetArchitecture
    private let edges: CodeEdges
    private var patched: [VirtualAddress: [VirtualAddress]] = [:]
    private let decoder: (RawSpan, VirtualAddress) -> PlainInstruction?

    init(_ subject: AuditSubject, _ architecture: OffsetArchitecture) {
        self.subject = subject
        self.architecture = architecture
        edges = CodeEdges(subject)
        decoder = architecture.decoder()
        for patch in architecture.alternatives.patches(subject) { follow(patch) }
    }

    /// Where an alternative leads that is not in force in the file.
    private mutating func follow(_ patch: AlternativeTable.Patch) {
        var at = patch.original.lowerBound
        while at < patch.original.upperBound, let instruction = decode(at) {
            // What takes its place may go on.
            if instruction.flow == .jump { patched[at, default: []].append(instruction.next) }
            at = instruction.next
        }
        at = patch.replacement.lowerBound
        while at < patch.replacement.upperBound, let instruction = decode(at) {
            if let target = instruction.target, instruction.flow != .call, !patch.replacement.contains(target) {
                let place = patch.original.lowerBound + (at - patch.replacement.lowerBound)
                patched[place, default: []].append(target)
            }
            at = instruction.next
        }
    }

    func decode(_ address: VirtualAddress) -> PlainInstruction? {
        guard let section = subject.section(at: address), section.isExecutable else { return nil }
        let start = Int(address - section.address)
        guard start < section.bytes.count else { return nil }
        let end = min(start + 4, section.bytes.count)
        return unsafe decoder(section.bytes.span.bytes.extracting(start..<end), address)
    }

    /// The function around an address, from symbol to symbol where none covers it.
    func function(around address: VirtualAddress) -> Range<VirtualAddress>? {
        guard let section = subject.section(at: address), section.isExecutable else { return nil }
        guard let function = subject.index.function(at: address) else {
            return subject.index.gap(around: address).clamped(to: section.range)
        }
        return (function.value..<function.end).clamped(to: section.range)
    }

    /// Where control may go next inside a function, whatever patches are in force.
    func successors(of instruction: PlainInstruction) -> [VirtualAddress] {
        var next: [VirtualAddress] = []
        switch instruction.flow {
        case .next, .call: next = [instruction.next]
        case .branch: next = [instruction.next] + (instruction.target.map { [$0] } ?? [])
        case .jump: next = instruction.target.map { [$0] } ?? []
        case .farJump, .end: break
        }
        let others = edges[instruction.address] + (patched[instruction.address] ?? [])
        // A warning traps and goes on behind the trap; a jump that can be patched goes on when it is not there.
        if instruction.flow == .end || instruction.flow == .jump, !others.isEmpty { next.append(instruction.next) }
        for other in others where instruction.flow != .end && !next.contains(other) { next.append(other) }
        return next
    }

    /// Whether a jump stays in the unit. One into the middle of another symbol, or to a part, widens it.
    func goes(to target: VirtualAddress, _ extents: inout [Range<VirtualAddress>]) -> Bool {
        if extents.contains(where: { $0.contains(target) }) { return true }
        guard let other = subject.index.function(at: target), other.value != target || subject.isPart(other),
            extents.count < 16
        else { return false }
        extents.append(subject.isPart(other) ? other.value..<other.end : target..<other.end)
        return true
    }
}
