// SPDX-License-Identifier: MIT

// Instructions that run elsewhere, where something is done besides: the first of
// them become a jump to a copy of them, which jumps back behind them. What is done
// besides differs, and is a payload.
//
// Where others come to an instruction, or right behind it, no jump fits there.
// Then each way to it is led elsewhere at its beginning, and goes on with a copy
// of the instruction, a trace; the instruction itself is left for the others:
//
//     1: mov phys_base(%rip), %rax     1: jmp 3f            3: mov phys_base(%rip), %rax
//        jmp 2f                    ->     nop; jmp 2f           add %rdi, %rax, and what is done
//     2: add %rdi, %rax                2: add %rdi, %rax        jmp back behind it

import Addressing
import Disassembly
import KernelImage

/// What is done besides the instructions of a detour.
protocol DetourPayload {
    /// The code for the first of some instructions, or for what comes behind the last; nil when it cannot be.
    ///
    /// - Parameter looks: those before this instruction.
    mutating func code(
        for instructions: ArraySlice<Instruction>, _ original: [UInt8], _ looks: [Detour.Look],
        at place: VirtualAddress, _ decoder: borrowing Decoder
    ) -> [UInt8]?
}

struct Detour {
    struct Look {
        /// The instructions that read the offset which is added here.
        var sites: [VirtualAddress]
        /// The instruction before which the register holds the address.
        let place: VirtualAddress
        let register: GeneralRegister
        let displacement: Int64
        let isReverse: Bool
        /// Whether it asks a table, in a kernel whose translations do.
        var asksTable = true
    }

    /// One after the other. Those that the jump takes are entered at the first only, and so are all that lie one behind
    /// the other, but not what a trace goes on with.
    private(set) var instructions: [Instruction]
    /// Whether it goes on with copies of code that is there for others as well.
    let isTrace: Bool
    /// In the order of the instructions.
    private(set) var looks: [Look] = []

    var start: VirtualAddress { instructions[0].address }
    /// Where it goes on.
    var end: VirtualAddress { instructions[instructions.count - 1].next }

    /// What gives way to the jump.
    var head: Range<VirtualAddress> {
        var covered = 0
        for instruction in instructions where covered < ObservedSite.jumpBytes { covered += instruction.size }
        return start..<start + UInt64(covered)
    }

    private init(_ look: ObservedSite.Look) {
        instructions = look.instructions
        isTrace = look.isTrace
    }

    /// One for all looks whose instructions overlap, ascending; traces are left out.
    static func merged(_ sites: [ObservedSite]) -> [Detour] {
        var detours: [Detour] = []
        let all = sites.flatMap { site in site.looks.filter { !$0.isTrace }.map { (site: site.address, look: $0) } }
        for (site, look) in all.sorted(by: { ($0.look.first, $0.look.place) < ($1.look.first, $1.look.place) }) {
            if let last = detours.last, look.first < last.end {
                let known = last.end
                detours[detours.count - 1].instructions += look.instructions.filter { $0.address >= known }
            } else {
                detours.append(Detour(look))
            }
            detours[detours.count - 1].add(look, of: site)
        }
        return detours
    }

    /// Those of all sites, traces last, and the sites that have none because another jump is in the way.
    static func all(_ sites: [ObservedSite]) -> (detours: [Detour], crossed: [VirtualAddress]) {
        var others = merged(sites)
        let all = sites.flatMap { site in site.looks.map { (site: site.address, look: $0) } }
        let paths = all.filter(\.look.isTrace).sorted {
            ($0.look.first, $1.look.instructions.count) < ($1.look.first, $0.look.instructions.count)
        }
        var traces: [Detour] = []
        var crossed: [VirtualAddress] = []
        for (site, look) in paths {
            var trace = Detour(look)
            if let last = traces.last, last.start == trace.start,
                last.instructions.starts(with: trace.instructions)
            {
                continue
            }
            let under = others.indices.filter { (others[$0].start..<others[$0].end).overlaps(trace.head) }
            var rest = others
            if let only = under.first, under.count == 1, let longer = trace.behind(others[only]) {
                trace = longer
                rest.remove(at: only)
            } else if !under.isEmpty {
                crossed.append(site)
                continue
            }
            // What lies under a jump cannot be gone on with, nor what only a copy does whole.
            if traces.contains(where: { $0.head.overlaps(trace.head) || trace.head.isCut(at: $0.end) })
                || (rest.map { $0.start..<$0.end } + traces.map(\.head)).contains(where: { $0.isCut(at: trace.end) })
            {
                crossed.append(site)
            } else {
                traces.append(trace)
                others = rest
            }
        }
        for i in traces.indices {
            let places = Set(traces[i].instructions.map(\.address))
            for (site, look) in all where places.contains(look.place) { traces[i].add(look, of: site) }
        }
        return (others + traces, crossed)
    }

    /// A trace that begins with what another detour begins with, if that leads into it.
    private func behind(_ other: Detour) -> Detour? {
        guard let at = other.instructions.firstIndex(where: { $0.address == start }),
            instructions.starts(with: other.instructions[at...])
        else { return nil }
        var trace = self
        trace.instructions = other.instructions[..<at] + instructions
        return trace
    }

    /// The same, which asks no table.
    var asksNothing: Detour {
        var other = self
        for i in looks.indices { other.looks[i].asksTable = false }
        return other
    }

    /// Whether it takes none of another's instructions.
    func isApart(from other: Detour) -> Bool {
        !other.instructions.contains { start < $0.next && $0.address < end }
    }

    private mutating func add(_ look: ObservedSite.Look, of site: VirtualAddress) {
        let same = looks.firstIndex {
            $0.place == look.place && $0.register == look.register && $0.displacement == look.displacement
                && $0.isReverse == look.isReverse
        }
        if let same {
            if !looks[same].sites.contains(site) { looks[same].sites.append(site) }
            return
        }
        let new = Look(
            sites: [site], place: look.place, register: look.register, displacement: look.displacement,
            isReverse: look.isReverse)
        // The last may be behind all instructions.
        let order = instructions.map(\.address) + [end]
        let at = looks.firstIndex { other in
            (order.firstIndex(of: new.place) ?? 0) < (order.firstIndex(of: other.place) ?? 0)
        }
        looks.insert(new, at: at ?? looks.count)
    }

    /// Why the instructions cannot be led elsewhere.
    func obstacle(
        _ analysis: KernelAnalysis, _ patched: [Range<VirtualAddress>], _ relocations: KASLRRelocations?
    ) -> String? {
        for instruction in instructions {
            let range = instruction.address..<instruction.next
            if let function = analysis.index.function(at: range.lowerBound), range.upperBound > function.end {
                return "code that reaches beyond its function"
            }
            if analysis.runsEarly(range.lowerBound) { return "runs before the kernel's own mapping is live" }
            if patched.haveOverlap(with: range) { return "the kernel patches the code there" }
            if let words = relocations?.words(in: range), !words.isEmpty, !follows(words, range, relocations) {
                return "KASLR relocates a word of the code there"
            }
        }
        return nil
    }

    /// Whether the words of an instruction can be relocated in its copy instead: where nothing runs the original.
    private func follows(
        _ words: [VirtualAddress], _ range: Range<VirtualAddress>, _ relocations: KASLRRelocations?
    ) -> Bool {
        guard !isTrace || range.upperBound <= head.upperBound else { return false }
        return words.allSatisfy {
            range.contains($0) && $0 + 4 <= range.upperBound && relocations?.entry(of: $0) != nil
        }
    }

    /// Where words that KASLR relocates are in the code; nil when that cannot be told.
    func relocated(
        in code: [UInt8], at place: VirtualAddress, _ relocations: KASLRRelocations, _ originals: OriginalCode
    ) -> [VirtualAddress: VirtualAddress]? {
        var moved: [VirtualAddress: VirtualAddress] = [:]
        for instruction in instructions {
            let words = relocations.words(in: instruction.address..<instruction.next)
            guard !words.isEmpty else { continue }
            guard let original = originals[instruction.address] else { return nil }
            let copies = code.indices.filter { code[$0...].starts(with: original) }
            guard copies.count == 1 else { return nil }
            for word in words { moved[word] = place + UInt64(copies[0]) + (word - instruction.address) }
        }
        return moved
    }

    /// An upper bound of the bytes of the code.
    ///
    /// - Parameter bytesPerLook: an upper bound of what a payload makes of one look, besides its instruction.
    func bound(_ bytesPerLook: Int) -> Int {
        // An instruction may stand there twice, and a short jump become a long one.
        let copied = instructions.reduce(0) { $0 + $1.size } + looks.reduce(0) { $0 + size(at: $1.place) }
        return looks.count * bytesPerLook + copied + (isTrace ? instructions.count + 1 : 2)
            * (ObservedSite.jumpBytes + 1)
    }

    private func size(at place: VirtualAddress) -> Int { instructions.first { $0.address == place }?.size ?? 0 }

    /// Where in the code the copy of an instruction begins, with what is done besides.
    struct Step {
        let offset: Int
        let original: VirtualAddress
    }

    /// The code of the detour; nil when an instruction is not as expected or cannot stand there.
    func code<Payload: DetourPayload>(
        at start: VirtualAddress, _ payload: inout Payload, _ originals: OriginalCode, _ decoder: borrowing Decoder
    ) -> (bytes: [UInt8], steps: [Step])? {
        var bytes: [UInt8] = []
        var steps: [Step] = []
        var open = looks[...]
        for (number, instruction) in instructions.enumerated() {
            guard let original = originals[instruction.address],
                let decoded = unsafe decoder.decode(original.span.bytes, at: instruction.address),
                decoded == instruction
            else { return nil }
            let here = open.prefix { $0.place == instruction.address }
            open = open.dropFirst(here.count)
            let place = start + UInt64(bytes.count)
            steps.append(Step(offset: bytes.count, original: instruction.address))
            let code: [UInt8]?
            if isTrace, instruction.flow != .next {
                guard here.isEmpty, number + 1 < instructions.count else { return nil }
                code = InstructionCopy.step(
                    from: instruction, original, to: instructions[number + 1].address, at: place, decoder)
            } else {
                code = payload.code(for: instructions[number...], original, Array(here), at: place, decoder)
            }
            guard let code else { return nil }
            bytes += code
        }
        let behind = open.prefix { $0.place == end }
        guard behind.count == open.count,
            let last = payload.code(for: [], [], Array(behind), at: start + UInt64(bytes.count), decoder)
        else { return nil }
        steps.append(Step(offset: bytes.count, original: end))
        bytes += last
        return X86Code.branch(0xe9, from: start + UInt64(bytes.count), to: end).map { (bytes + $0, steps) }
    }

    /// The jump in the place of the first instructions.
    func lead(to place: VirtualAddress) -> [UInt8]? {
        let covered = Int(head.upperBound - start)
        guard let jump = X86Code.branch(0xe9, from: start, to: place), covered >= jump.count else { return nil }
        return jump + [UInt8](repeating: 0x90, count: covered - jump.count)
    }
}

/// The bytes of instructions that are led elsewhere, by address, as the file has them.
typealias OriginalCode = [VirtualAddress: [UInt8]]

extension PageMap {
    func originals(of detours: [Detour], in image: borrowing KernelImage) -> OriginalCode {
        var originals: OriginalCode = [:]
        for instruction in detours.flatMap(\.instructions) {
            originals[instruction.address] = bytes(at: instruction.address, count: instruction.size, in: image)
        }
        return originals
    }
}

/// The code of many detours, one behind the other.
struct DetourCode {
    /// What leads to a copy, and where that is.
    struct Led {
        let detour: Detour
        /// What takes the place of the detour's head.
        let lead: [UInt8]
        let code: Range<VirtualAddress>
        let steps: [Detour.Step]
    }

    private(set) var bytes: [UInt8]
    private(set) var led: [Led] = []
    /// Words of copied instructions that KASLR has to relocate there instead, and where.
    private(set) var relocated: [VirtualAddress: VirtualAddress] = [:]
    /// Sites that are left as they are, ascending, and why.
    private(set) var left: [(address: VirtualAddress, reason: String)] = []

    /// - Parameters:
    ///   - first: what comes before them.
    ///   - obstacle: why a detour must not be.
    init<Payload: DetourPayload>(
        _ detours: [Detour], behind first: [UInt8], at place: VirtualAddress, _ payload: inout Payload,
        _ originals: OriginalCode, _ relocations: KASLRRelocations? = nil, unless obstacle: (Detour) -> String?
    ) {
        let decoder = Decoder(.x86Bits64)
        var reasons: [VirtualAddress: String] = [:]
        bytes = first
        for detour in detours {
            let obstacle = obstacle(detour)
            let here = place + UInt64(bytes.count)
            var next = payload
            if obstacle == nil, let code = detour.code(at: here, &next, originals, decoder),
                let lead = detour.lead(to: here),
                let moved = relocations.map({ detour.relocated(in: code.bytes, at: here, $0, originals) }) ?? [:]
            {
                payload = next
                relocated.merge(moved) { first, _ in first }
                led.append(
                    Led(
                        detour: detour, lead: lead, code: here..<here + UInt64(code.bytes.count), steps: code.steps))
                bytes += code.bytes
            } else {
                for site in detour.looks.flatMap(\.sites) {
                    reasons[site] = obstacle ?? "an instruction there is not as expected, or cannot stand elsewhere"
                }
            }
        }
        left = reasons.sorted { $0.key < $1.key }.map { ($0, $1) }
    }

    /// What leads to the code, in a kernel's file.
    func leads(
        _ map: PageMap, _ originals: OriginalCode, reason: String, _ tests: FrameTests? = nil
    ) -> [Change] {
        led.compactMap { led in
            let before = led.detour.instructions.flatMap { originals[$0.address] ?? [] }
            guard let fileOffset = map.fileOffset(of: led.detour.start) else { return nil }
            let step = led.detour.looks.lazy.compactMap { tests?.step(at: $0.place) }.first
            return Change(
                fileOffset: fileOffset, address: led.detour.start, before: Array(before.prefix(led.lead.count)),
                after: led.lead, reason: step?.reason ?? reason,
                evidence: step?.evidence
                    ?? "what is read at \(led.detour.looks.flatMap(\.sites).map(\.description).joined(separator: ", "))"
            )
        }
    }

    /// The same, with more sites that are left.
    func leaving(_ sites: [VirtualAddress], _ reason: String) -> DetourCode {
        var code = self
        let reasons = Dictionary(left + sites.map { ($0, reason) }) { first, _ in first }
        code.left = reasons.sorted { $0.key < $1.key }.map { ($0, $1) }
        return code
    }
}

extension Range<VirtualAddress> {
    fileprivate func isCut(at address: VirtualAddress) -> Bool { lowerBound < address && address < upperBound }
}

extension [Range<VirtualAddress>] {
    /// Whether one of these, ascending and apart, overlaps another range.
    fileprivate func haveOverlap(with range: Range<VirtualAddress>) -> Bool {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low].overlaps(range)
    }
}

extension ObservedSite.Look {
    fileprivate var first: VirtualAddress { instructions[0].address }
}
