// SPDX-License-Identifier: MIT

// Which instructions around a translation can run elsewhere, so that a jump fits
// in their place: those around the sum, or else, on each way to it, those at its
// beginning and a copy of all from there to the sum.

import Addressing
import Disassembly
import KernelImage
import KernelRewrite

extension SiteFinder {
    /// Where each address can be looked at: behind the read, before anything else can come in between, or else where it
    /// is used; one that comes out of a physical one, behind that.
    func looks(_ uses: [Use], from read: Int?) -> Result<ObservedSite?, Unobservable> {
        guard let read, let block = unit.blocks.first(where: { $0.range.contains(read) }) else {
            return .failure(Unobservable(reason: "not on any path"))
        }
        var looks: [ObservedSite.Look] = []
        for use in uses {
            guard let register = use.register else {
                return .failure(Unobservable(reason: "the address is in memory"))
            }
            var run: (instructions: Range<Int>, position: Int)?
            for at in read..<block.range.upperBound where run == nil && !use.reverse {
                guard isHeld(register, before: at, to: use.number) else { continue }
                run = self.run(from: read, to: at, in: block).map { ($0, at) }
            }
            if run == nil, let own = unit.blocks.first(where: { $0.range.contains(use.number) }) {
                let place = use.reverse ? use.number + 1 : use.number
                for start in own.range.prefix(through: use.number).reversed() where run == nil {
                    run = self.run(from: start, to: place, in: own).map { ($0, place) }
                }
            }
            guard let run else { return .failure(Unobservable(reason: "no room for a jump to the note")) }
            let look = ObservedSite.Look(
                instructions: Array(unit.instructions[run.instructions]),
                before: use.reverse
                    ? unit.instructions[use.number].next : unit.instructions[run.position].address,
                register: register, displacement: use.displacement, isReverse: use.reverse)
            if !looks.contains(look) { looks.append(look) }
        }
        return .success(ObservedSite(address: unit.instructions[read].address, looks: looks))
    }

    /// Where each address is added to: the instruction that does so, with those around it that must come along.
    func lookups(_ uses: [Use], from read: VirtualAddress) -> Result<ObservedSite?, Unobservable> {
        var lookups: [ObservedSite.Look] = []
        for use in uses {
            guard let register = use.register, !use.reverse else {
                return .failure(Unobservable(reason: "the address is in memory"))
            }
            if use.constant != nil, !use.isHalf, constants([use]) == nil {
                return .failure(Unobservable(reason: "a number is added that is no address of the image"))
            }
            if use.isHalf, shift(of: use) == nil {
                return .failure(Unobservable(reason: "a sum of more than an address and the offset"))
            }
            guard case .register(let sum) = unit.instructions[use.number].operands.first,
                GeneralRegister.width(of: sum) == 64
                    || GeneralRegister.width(of: sum) == 32 && isWhole(register, before: use.number)
            else { return .failure(Unobservable(reason: "the sum has fewer than 64 bits, and the address may have")) }
            guard let home = block(of: use.number) else {
                return .failure(Unobservable(reason: "not on any path"))
            }
            let block = unit.blocks[home]
            func run(mayJump: Bool) -> Range<Int>? {
                for start in block.range.prefix(through: use.number).reversed() {
                    if let run = self.run(from: start, to: use.number + 1, in: block, mayJump: mayJump) { return run }
                }
                return nil
            }
            func look(_ instructions: [Int], isTrace: Bool = false) {
                let lookup = ObservedSite.Look(
                    instructions: instructions.map { unit.instructions[$0] },
                    before: unit.instructions[use.number].address, register: register, displacement: use.displacement,
                    isTrace: isTrace)
                if !lookups.contains(lookup) { lookups.append(lookup) }
            }
            let jumping = run(mayJump: true)
            let leaves = jumping.map { unit.instructions[$0.upperBound - 1].target.flatMap(unit.number(at:)) == nil }
            if let run = run(mayJump: false) {
                look(Array(run) + flagWriter(behind: run, from: use.number, in: block))
            } else if let jumping, leaves == false {
                look(Array(jumping))
            } else if let traces = traces(
                to: use, through: home, Array(block.range.prefix(through: use.number)), [home])
            {
                let behind = flagWriter(behind: use.number..<use.number + 1, from: use.number, in: block)
                for trace in traces { look(trace + behind, isTrace: true) }
            } else if let jumping {
                look(Array(jumping))
            } else {
                return .failure(Unobservable(reason: "no room for a jump to the lookup"))
            }
        }
        return .success(ObservedSite(address: read, looks: lookups))
    }

    func block(of number: Int) -> Int? { unit.blocks.firstIndex { $0.range.contains(number) } }

    /// What must come along behind a run, so that the flags need not be kept for what follows the sum in it.
    private func flagWriter(behind run: Range<Int>, from sum: Int, in block: CodeUnit.Block) -> [Int] {
        let most = 6
        guard !unit.instructions[sum..<run.upperBound].writeFlags else { return [] }
        for end in run.upperBound..<max(run.upperBound, min(run.upperBound + most, block.range.upperBound - 1)) {
            guard isPlain(end, in: block), !namesImage(unit.instructions[end]) else { return [] }
            if unit.instructions[sum...end].writeFlags { return Array(run.upperBound...end) }
        }
        return []
    }

    /// Whether an instruction holds an address of the image, which KASLR relocates.
    private func namesImage(_ instruction: Instruction) -> Bool {
        guard let map = subject.kernel?.map else { return false }
        return instruction.operands.contains { operand in
            switch operand {
            case .immediate(let value): map.page(of: VirtualAddress(UInt64(bitPattern: value))) != nil
            case .memory(let base, _, let displacement):
                base != "rip" && map.page(of: VirtualAddress(UInt64(bitPattern: displacement))) != nil
            case .register: false
            }
        }
    }

    /// Whether a copy of an instruction in the middle of a block can run elsewhere.
    private func isPlain(_ number: Int, in block: CodeUnit.Block) -> Bool {
        let instruction = unit.instructions[number]
        return instruction.flow == .next && instruction.mnemonic != "call"
            && (number + 1 < block.range.upperBound || block.successors.count < 2)
    }

    /// For a sum at which there is no room, all ways to it on which what was read comes, each with room for a jump at its
    /// beginning.
    private func traces(to use: Use, through number: Int, _ tail: [Int], _ seen: Set<Int>) -> [[Int]]? {
        let block = unit.blocks[number]
        guard
            tail.prefix(block.range.count).allSatisfy({
                isPlain($0, in: block)
                    || $0 + 1 == block.range.upperBound && $0 != use.number
                        && unit.instructions[$0].isNearJump && block.instead.isEmpty
            })
        else { return nil }
        var ways: [[Int]] = []
        for previous in before[number] where use.bringers.contains(previous) {
            let from = unit.blocks[previous]
            let last = unit.instructions[from.range.upperBound - 1]
            let start = unit.instructions[block.range.lowerBound].address
            // What a table leads to cannot be led elsewhere.
            guard !seen.contains(previous), seen.count < Self.mostBlocks, from.instead.isEmpty,
                last.flow == .next && last.next == start && last.mnemonic != "call"
                    || last.isNearJump && (last.target == start) != (last.flow == .branch && last.next == start)
            else { return nil }
            var room = 0
            var head = from.range.upperBound
            while head > from.range.lowerBound, room < ObservedSite.jumpBytes {
                head -= 1
                guard head + 1 == from.range.upperBound || isPlain(head, in: from) else { return nil }
                room += unit.instructions[head].size
            }
            let way = Array(head..<from.range.upperBound) + tail
            if room >= ObservedSite.jumpBytes {
                ways.append(way)
            } else if let more = traces(to: use, through: previous, way, seen.union([previous])) {
                ways += more
            } else {
                return nil
            }
        }
        return ways.isEmpty ? nil : ways
    }

    /// Whether all 64 bits of a register are written wherever it may come from.
    private func isWhole(_ register: GeneralRegister, before number: Int) -> Bool {
        var open = unit.before[number]
        var seen = Set(open)
        if open.isEmpty { return false }
        while let at = open.popLast() {
            let instruction = unit.instructions[at]
            let isCall = instruction.mnemonic == "call" && GeneralRegisters.callerSaved.contains(register)
            // Compilers put it behind a function's code: it does not return.
            if isCall, let target = instruction.target, subject.addresses(named: "__stack_chk_fail").contains(target) {
                continue
            }
            if instruction.writes.contains(register) || isCall {
                guard !isCall, case .register(let name) = instruction.operands.first,
                    GeneralRegister(name: name) == register, GeneralRegister.width(of: name) == 64
                else { return false }
                continue
            }
            if unit.before[at].isEmpty { return false }
            for previous in unit.before[at] where seen.insert(previous).inserted { open.append(previous) }
        }
        return true
    }

    /// The instructions that must run elsewhere so that a jump fits over the first of them and something can be done
    /// before one of them, or behind the last.
    ///
    /// - Parameter mayJump: whether the last may be a direct jump.
    private func run(
        from start: Int, to position: Int, in block: CodeUnit.Block, mayJump: Bool = false
    ) -> Range<Int>? {
        var end = start
        var size = 0
        while end < position || size < ObservedSite.jumpBytes {
            guard end < block.range.upperBound, unit.instructions[end].mnemonic != "call" else { return nil }
            if end + 1 == block.range.upperBound, mayJump, unit.instructions[end].isNearJump, block.instead.isEmpty {
                size += unit.instructions[end].size
                end += 1
                return end >= position && size >= ObservedSite.jumpBytes ? start..<end : nil
            }
            guard unit.instructions[end].flow == .next,
                // The last one may have a way out that no jump shows: a table says where its fault leads, say.
                end + 1 < block.range.upperBound || block.successors.count < 2
            else { return nil }
            size += unit.instructions[end].size
            end += 1
        }
        return start..<end
    }

    /// Whether a register keeps its value from before an instruction of a block up to a use, on any path.
    func isHeld(_ register: GeneralRegister, before start: Int, to use: Int) -> Bool {
        if start == use { return true }
        let first = unit.instructions[start]
        let isCall = first.mnemonic == "call"
        if first.writes.contains(register) || isCall && GeneralRegisters.callerSaved.contains(register) { return false }
        return isIntact(register, from: start, to: use)
    }

    /// Whether nothing writes a register between a read and a use of what was read, on any path.
    func isIntact(_ register: GeneralRegister, from read: Int, to use: Int) -> Bool {
        if read == use { return true }
        let between = unit.reached(from: read, along: \.after, except: read).intersection(
            unit.reached(from: use, along: \.before, except: read))
        return between.allSatisfy { number in
            let instruction = unit.instructions[number]
            let isCall = instruction.mnemonic == "call"
            return !instruction.writes.contains(register)
                && !(isCall && GeneralRegisters.callerSaved.contains(register))
        }
    }
}

extension Instruction {
    /// Whether it is a direct jump that can be made as far as 32 bits say.
    fileprivate var isNearJump: Bool {
        target != nil && (mnemonic == "jmp" || flow == .branch)
            && !["loop", "loope", "loopne", "jcxz", "jecxz", "jrcxz"].contains(mnemonic)
    }
}
