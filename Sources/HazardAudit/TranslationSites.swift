// SPDX-License-Identifier: MIT

// Where does the kernel turn virtual addresses of its image into physical ones?
// On x86-64 each such place reads phys_base: the offset between x -
// __START_KERNEL_map and the physical address. The value that was read is
// followed along every path to the instructions that add it to something, and a
// site is understood when all of them are known, with the register that holds
// the address, and with a way to have the table answer instead.

public import Addressing
import Disassembly
import KernelImage
public import KernelRewrite

/// An instruction that reads the offset between virtual and physical addresses.
public struct TranslationSite: Sendable {
    public enum Kind: String, CaseIterable, Codable, Sendable {
        /// The address is a constant: an object of the image, whose pages are pinned.
        case constant
        /// One register holds the address from the read to every place that uses it: the read itself can look it up.
        case register
        /// What was read is used in several places, or of several addresses: each use can look its own up.
        case shared
        /// From a physical address back to a virtual one.
        case reverse
        /// The offset itself is wanted: set, printed, stored or handed on.
        case offset
        case notUnderstood
    }

    public let address: VirtualAddress
    /// The function, with the offset in it.
    public let place: String
    public let instruction: String
    public let kind: Kind
    /// What is translated: a register, a stack slot, or the object's name.
    public let translated: String
    /// Where it is added.
    public let consumers: [VirtualAddress]
    /// Where the physical address goes first.
    public let result: String
    /// For what is not understood, why.
    public let remark: String
    /// The addresses that are translated, where they are known.
    public let constants: [VirtualAddress]
    /// For constants: whether all they name stays in its place.
    public let isPinned: Bool?
    /// How a kernel can note what it translates here; nil where nothing is translated that is not known anyway, and
    /// where `whyNotObserved` says why it cannot.
    public let observed: ObservedSite?
    public let whyNotObserved: String?
    /// Where a kernel can ask a table for what it translates here; nil where `whyNotRewritten` says why it cannot.
    public let rewritten: ObservedSite?
    public let whyNotRewritten: String?
    /// Why it translates nothing that moves, where it does not ask and need not.
    public let proof: String?

    public var isUnderstood: Bool { kind != .notUnderstood }
}

extension TranslationSite.Kind {
    /// Why a site of this kind does not ask the table.
    fileprivate var why: String {
        switch self {
        case .constant: "translates a constant"
        case .reverse: "goes from a physical address back to a virtual one"
        case .register, .shared, .offset, .notUnderstood: "wants the offset itself"
        }
    }
}

/// All sites of a kernel.
public struct TranslationSites: Sendable {
    public private(set) var sites: [TranslationSite] = []
    /// Reads of the offset by instructions that no function holds, or that do not decode.
    public private(set) var skipped: [(address: VirtualAddress, reason: String)] = []

    /// Those that can ask a table.
    public var rewritable: [ObservedSite] { sites.compactMap(\.rewritten) }

    init(sites: [TranslationSite], skipped: [(address: VirtualAddress, reason: String)]) {
        self.sites = sites.sorted { $0.address < $1.address }
        self.skipped = skipped
    }

    public init(_ subject: AuditSubject) {
        guard let base = subject.addresses(named: "phys_base").first else { return }
        let reader = CodeReader(subject)
        var units: [VirtualAddress: CodeUnit] = [:]
        var last: CodeUnit?
        var seen: Set<VirtualAddress> = []
        var open: [(unit: VirtualAddress, site: VirtualAddress)] = []
        for candidate in References.candidates(to: base, in: subject) {
            if last?.function.contains(candidate) != true { last = reader.unit(around: candidate) }
            guard let unit = last else { continue }
            let key = unit.function.lowerBound
            if units[key] == nil { units[key] = unit }
            guard let instruction = unit.instruction(holding: candidate), instruction.refers(to: base) else {
                if unit.undecoded.contains(where: { $0 <= candidate && candidate < $0 + 16 }) {
                    skipped.append((candidate, "the code there does not decode"))
                }
                continue
            }
            guard seen.insert(instruction.address).inserted else { continue }
            open.append((key, instruction.address))
        }
        for (key, group) in Dictionary(grouping: open, by: \.unit).sorted(by: { $0.key < $1.key }) {
            guard let unit = units[key] else { continue }
            sites += SiteFinder(unit, subject, base: base, reads: group.map(\.site).sorted()).sites
        }
        sites.sort { $0.address < $1.address }
    }
}

extension CodeUnit {
    /// The instruction whose bytes cover an address.
    func instruction(holding address: VirtualAddress) -> Instruction? {
        var low = 0
        var high = instructions.count
        while low < high {
            let middle = (low + high) / 2
            if instructions[middle].address <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0, address < instructions[low - 1].next else { return nil }
        return instructions[low - 1]
    }
}

extension Instruction {
    /// Whether an operand is, or lies at, an address.
    func refers(to address: VirtualAddress) -> Bool {
        if relativeReference == address { return true }
        return operands.contains { operand in
            switch operand {
            case .memory(_, _, let displacement): UInt64(bitPattern: displacement) == address.rawValue
            case .immediate(let value): UInt64(bitPattern: value) == address.rawValue
            default: false
            }
        }
    }

    /// Whether the memory operand is read: not only written, and not only its address taken.
    fileprivate var readsMemory: Bool {
        if mnemonic == "lea" { return false }
        return operands.enumerated().contains { number, operand in
            if case .memory = operand { number > 0 || mnemonic != "mov" } else { false }
        }
    }

    /// Whether it is a direct jump that can be made as far as 32 bits say.
    fileprivate var isNearJump: Bool {
        target != nil && (mnemonic == "jmp" || flow == .branch)
            && !["loop", "loope", "loopne", "jcxz", "jecxz", "jrcxz"].contains(mnemonic)
    }

    fileprivate var text: String {
        let parts = operands.map { operand in
            switch operand {
            case .register(let name): name
            case .immediate(let value): UInt64(bitPattern: value).hex
            case .memory(let base, let index, let displacement):
                "[" + [base, index].compactMap { $0 }.joined(separator: "+") + "+\(displacement)]"
            }
        }
        return mnemonic + " " + parts.joined(separator: ", ")
    }
}

/// Why a site cannot be led elsewhere.
private struct Unobservable: Error {
    let reason: String
}

extension Result where Failure == Unobservable {
    fileprivate var problem: String? { if case .failure(let why) = self { why.reason } else { nil } }
}

/// The sites of one function.
private struct SiteFinder {
    var sites: [TranslationSite] = []

    /// What is done with a value that was read.
    private struct Use {
        let number: Int
        /// The register that holds the address; nil when it is in memory or known by number only.
        var register: GeneralRegister?
        var constant: UInt64?
        /// What is added to the register besides.
        var displacement: Int64 = 0
        var reverse = false
        var isOffset = false
        /// Why it is not understood.
        var problem: String?
        /// Where the sum goes.
        var result: GeneralRegister?
        /// Numbers of the blocks that end with what was read in a register or in the stack.
        var bringers: Set<Int> = []

        /// Whether START_KERNEL_MAP is taken off what was read, for an address that is added later; or the address is taken
        /// for 0, which code that compares it with 0 may make it.
        var isHalf: Bool { constant == 1 << 31 }
    }

    /// Of how many blocks a way to a sum may be led elsewhere.
    private static let mostBlocks = 4

    private let unit: CodeUnit
    private let subject: AuditSubject
    /// Numbers of the blocks before each.
    private var before: [[Int]]

    init(_ unit: CodeUnit, _ subject: AuditSubject, base: VirtualAddress, reads: [VirtualAddress]) {
        self.unit = unit
        self.subject = subject
        before = Array(repeating: [], count: unit.blocks.count)
        for (number, block) in unit.blocks.enumerated() {
            for next in block.successors { before[next].append(number) }
        }
        var uses = [[Use]](repeating: [], count: reads.count)
        // Values are followed for 63 reads at a time.
        for start in stride(from: 0, to: reads.count, by: 63) {
            let group = Array(reads[start..<min(start + 63, reads.count)])
            follow(group, base) { uses[start + $0].append($1) }
        }
        for (i, read) in reads.enumerated() { sites.append(site(read, uses[i])) }
    }

    private func follow(_ reads: [VirtualAddress], _ base: VirtualAddress, _ note: (Int, Use) -> Void) {
        var reading = 0
        let flow = FunctionFlow(unit, reads: reads, base: base)
        for (i, address) in reads.enumerated() {
            reading = i
            guard flow.isSettled else {
                note(reading, Use(number: 0, problem: "the function has too many paths"))
                continue
            }
            if unit.number(at: address) == nil { note(i, Use(number: 0, problem: "not on any path")) }
        }
        guard flow.isSettled else { return }
        var found: [(read: Int, use: Use)] = []
        flow.visit { instruction, number, state in
            for use in Self.uses(of: instruction, number, flow, state) {
                for i in reads.indices where use.bases & 1 << UInt64(i) != 0 { found.append((i, use.use)) }
            }
        }
        // A few blocks on each way to a sum are enough.
        var near = Set(found.compactMap { block(of: $0.use.number) })
        for _ in 0..<Self.mostBlocks { near.formUnion(near.flatMap { before[$0] }) }
        var bringers: [Int: UInt64] = [:]
        for number in near {
            guard let end = flow.end(of: number) else { continue }
            for i in reads.indices where end.mayHold(base: 1 << UInt64(i)) {
                bringers[number, default: 0] |= 1 << UInt64(i)
            }
        }
        for (read, seen) in found {
            var use = seen
            use.bringers = Set(bringers.filter { $0.value & 1 << UInt64(read) != 0 }.keys)
            note(read, use)
        }
    }

    /// What an instruction does with values that were read.
    private static func uses(
        of instruction: Instruction, _ number: Int, _ flow: FunctionFlow, _ state: MachineState
    ) -> [(bases: UInt64, use: Use)] {
        let operands = instruction.operands
        let values = operands.map { flow.read($0, instruction, state) }
        func register(_ operand: Operand) -> GeneralRegister? {
            if case .register(let name) = operand { GeneralRegister(name: name) } else { nil }
        }
        switch instruction.mnemonic {
        case "add" where operands.count == 2:
            return [(0, 1), (1, 0)].compactMap { base, other in
                guard values[base].bases != 0 else { return nil }
                var use = Use(number: number)
                use.register = register(operands[other])
                use.constant = values[other].constant
                use.result = register(operands[0])
                if values[other].bases != 0 { use.problem = "adds the offset to itself" }
                return (values[base].bases, use)
            }
        case "lea" where operands.count == 2:
            guard case .memory(let first, let second, let displacement) = operands[1] else { return [] }
            let parts = [first, second].map { $0.flatMap(GeneralRegister.init(name:)) }
            return [(0, 1), (1, 0)].compactMap { base, other in
                guard let name = parts[base], state[name].bases != 0 else { return nil }
                var use = Use(number: number)
                use.result = register(operands[0])
                if let second = parts[other] {
                    use.register = second
                    use.constant = state[second].constant.map { $0 &+ UInt64(bitPattern: displacement) }
                    use.displacement = displacement
                } else {
                    use.constant = UInt64(bitPattern: displacement)
                }
                if instruction.scale != 1 { use.problem = "multiplies the offset or the address" }
                return (state[name].bases, use)
            }
        case "sub" where operands.count == 2:
            if values[1].bases != 0 {
                return [(values[1].bases, Use(number: number, register: register(operands[0]), reverse: true))]
            }
            return values[0].bases == 0 ? [] : [(values[0].bases, Use(number: number, isOffset: true))]
        case "mov", "push", "movabs":
            let from = instruction.mnemonic == "push" ? 0 : 1
            guard operands.count > from, values[from].bases != 0 else { return [] }
            if case .memory = operands[0], FunctionFlow.slot(operands[0], state) == nil {
                return [(values[from].bases, Use(number: number, isOffset: true))]
            }
            return []
        case "call":
            // Handed on as an argument, if nothing used it before.
            var passed: UInt64 = 0
            for argument in GeneralRegister.arguments { passed |= state[argument].bases }
            return passed == 0 ? [] : [(passed, Use(number: number, isOffset: true))]
        case "cmp", "test", "nop": return []
        case "xor" where operands.count == 2 && operands[0] == operands[1]: return []
        case let name where name.hasPrefix("cmov") || name.hasPrefix("j"): return []
        default:
            let bases = operands.indices.reduce(UInt64(0)) { bases, i in
                if let register = register(operands[i]), !instruction.reads.contains(register) { return bases }
                return bases | values[i].bases
            }
            return bases == 0
                ? [] : [(bases, Use(number: number, problem: "used by \(instruction.text) at \(instruction.address)"))]
        }
    }

    // MARK: Judging

    private func site(_ address: VirtualAddress, _ uses: [Use]) -> TranslationSite {
        let number = unit.number(at: address)
        let instruction = number.map { unit.instructions[$0] }
        // A stale copy of what was used already is no use of its own.
        let shifts = uses.filter(\.isHalf).compactMap(shift)
        let translations = uses.filter { !$0.isOffset && !shifts.contains($0.number) }
        let whole = translations.filter { !$0.isHalf }
        let hasHalf = !whole.isEmpty && whole.count < translations.count
        let real = !whole.isEmpty ? whole : translations.isEmpty ? uses : translations
        var kind = TranslationSite.Kind.notUnderstood
        var translated = ""
        var remark = ""
        if let problem = real.compactMap(\.problem).first {
            remark = problem
        } else if real.isEmpty, let instruction, !instruction.readsMemory {
            kind = .offset
        } else if real.isEmpty {
            remark = "nothing uses what is read"
        } else if real.allSatisfy(\.isOffset) {
            kind = .offset
        } else if real.allSatisfy(\.reverse) {
            kind = .reverse
            translated = real.compactMap(\.register?.description).first ?? ""
        } else if real.contains(where: \.reverse) {
            remark = "used both ways"
        } else if let constants = constants(real) {
            kind = .constant
            translated = constants.map { subject.describe($0) }.joined(separator: ", ")
        } else {
            let registers = Set(real.map(\.register))
            if registers.count == 1, let register = registers.first ?? nil, let number,
                real.allSatisfy({ isIntact(register, from: number, to: $0.number) })
            {
                kind = .register
                translated = register.description
            } else {
                kind = .shared
                translated = Set(real.map { $0.register?.description ?? "memory" }).sorted().joined(separator: ", ")
            }
        }
        let isOpen = kind == .register || kind == .shared
        let looks = isOpen ? looks(real, from: number) : .success(nil)
        let named = kind == .constant ? constants(real) ?? [] : []
        // Two or more are the ends of a range.
        let namesPage = named.count == 1 && !named.contains(where: subject.bounds)
        var lookups =
            isOpen || namesPage
            ? lookups(real, from: address) : .failure(Unobservable(reason: remark.isEmpty ? kind.why : remark))
        var proof: String?
        if subject.kernel?.runsEarly(address) == true {
            proof = "runs before the kernel's own mapping is live, where all that it names stays"
        } else if kind == .constant, named.allSatisfy(subject.stays), lookups.problem != nil {
            proof = namesPage ? "names a pinned page" : "names pinned pages, or where sets of pages begin and end"
        } else if hasHalf, let added = real.lazy.compactMap({ addedBesides($0) }).first {
            // The sum of three: what is added last may be the address.
            lookups = .failure(Unobservable(reason: "a sum of more than an address and the offset"))
            if subject.isStill(added) {
                proof = "an address of \(subject.describe(added.lowerBound)) is added, which stays"
            }
        }
        if let proof { lookups = .failure(Unobservable(reason: proof)) }
        return TranslationSite(
            address: address, place: subject.describe(address), instruction: instruction?.text ?? "", kind: kind,
            translated: translated, consumers: real.map { unit.instructions[$0.number].address },
            result: real.first.map(destination) ?? "", remark: remark,
            constants: named, isPinned: kind == .constant ? named.allSatisfy(subject.stays) : nil,
            observed: try? looks.get(), whyNotObserved: looks.problem ?? (kind == .notUnderstood ? remark : nil),
            rewritten: try? lookups.get(), whyNotRewritten: lookups.problem, proof: proof)
    }

    /// The number of the instruction that makes a frame number of a sum, if nothing is added before.
    private func shift(of use: Use) -> Int? {
        guard let result = use.result, let home = block(of: use.number) else { return nil }
        let next = unit.blocks[home].range.first { number in
            number > use.number
                && (unit.instructions[number].writes.contains(result) || unit.instructions[number].mnemonic == "call")
        }
        return next.flatMap { unit.instructions[$0].mnemonic == "shr" ? $0 : nil }
    }

    /// The object whose address the next instruction adds to a sum; all of memory when it may be any.
    private func addedBesides(_ use: Use) -> Range<VirtualAddress>? {
        let number = use.number + 1
        guard number < unit.instructions.count, case let next = unit.instructions[number],
            next.address == unit.instructions[use.number].next, next.mnemonic == "add",
            case .register(let to) = next.operands[0], GeneralRegister(name: to) == use.result,
            case .register(let name) = next.operands[1], let added = GeneralRegister(name: name)
        else { return nil }
        let any = VirtualAddress(0)..<VirtualAddress(.max)
        guard let block = unit.blocks.first(where: { $0.range.contains(number) }),
            let source = block.range.prefix(through: number - 1).last(where: {
                unit.instructions[$0].writes.contains(added)
            }), case let writer = unit.instructions[source], ["add", "mov", "lea"].contains(writer.mnemonic),
            case .register(let written) = writer.operands[0], GeneralRegister.width(of: written) == 64
        else { return any }
        let address: UInt64
        switch writer.operands[1] {
        case .immediate(let value): address = UInt64(bitPattern: value)
        case .memory(_, _, let displacement) where writer.mnemonic == "lea": address = UInt64(bitPattern: displacement)
        default: return any
        }
        return subject.kernel?.object(at: VirtualAddress(address)) ?? any
    }

    /// Where each address can be looked at: behind the read, before anything else can come in between, or else where it
    /// is used.
    private func looks(_ uses: [Use], from read: Int?) -> Result<ObservedSite?, Unobservable> {
        guard let read, let block = unit.blocks.first(where: { $0.range.contains(read) }) else {
            return .failure(Unobservable(reason: "not on any path"))
        }
        var looks: [ObservedSite.Look] = []
        for use in uses {
            guard let register = use.register, !use.reverse else {
                return .failure(Unobservable(reason: "the address is in memory"))
            }
            var run: (instructions: Range<Int>, position: Int)?
            for at in read..<block.range.upperBound where run == nil {
                guard isHeld(register, before: at, to: use.number) else { continue }
                run = self.run(from: read, to: at, in: block).map { ($0, at) }
            }
            if run == nil, let own = unit.blocks.first(where: { $0.range.contains(use.number) }) {
                for start in own.range.prefix(through: use.number).reversed() where run == nil {
                    run = self.run(from: start, to: use.number, in: own).map { ($0, use.number) }
                }
            }
            guard let run else { return .failure(Unobservable(reason: "no room for a jump to the note")) }
            let look = ObservedSite.Look(
                instructions: Array(unit.instructions[run.instructions]),
                before: unit.instructions[run.position].address,
                register: register, displacement: use.displacement)
            if !looks.contains(look) { looks.append(look) }
        }
        return .success(ObservedSite(address: unit.instructions[read].address, looks: looks))
    }

    /// Where each address is added to: the instruction that does so, with those around it that must come along.
    private func lookups(_ uses: [Use], from read: VirtualAddress) -> Result<ObservedSite?, Unobservable> {
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

    private func block(of number: Int) -> Int? { unit.blocks.firstIndex { $0.range.contains(number) } }

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
    private func isHeld(_ register: GeneralRegister, before start: Int, to use: Int) -> Bool {
        if start == use { return true }
        let first = unit.instructions[start]
        let isCall = first.mnemonic == "call"
        if first.writes.contains(register) || isCall && GeneralRegisters.callerSaved.contains(register) { return false }
        return isIntact(register, from: start, to: use)
    }

    /// The image's addresses when every use translates a known one.
    private func constants(_ uses: [Use]) -> [VirtualAddress]? {
        guard let map = subject.kernel?.map else { return nil }
        var found: [VirtualAddress] = []
        for use in uses {
            guard let constant = use.constant, constant >= map.physicalBase.rawValue,
                constant <= map.physicalRange.upperBound.rawValue
            else { return nil }
            let address = map.virtualBase + (constant - map.physicalBase.rawValue)
            if !found.contains(address) { found.append(address) }
        }
        return found
    }

    /// Whether nothing writes a register between a read and a use of what was read, on any path.
    private func isIntact(_ register: GeneralRegister, from read: Int, to use: Int) -> Bool {
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

    /// Where the sum goes: the first instruction behind that does more than shift it.
    private func destination(_ use: Use) -> String {
        guard var register = use.result else { return "" }
        var shape = "address"
        for instruction in unit.instructions[(use.number + 1)...].prefix(24) {
            guard let first = instruction.operands.first else { continue }
            let names = instruction.operands.compactMap { operand -> GeneralRegister? in
                if case .register(let name) = operand { GeneralRegister(name: name) } else { nil }
            }
            if instruction.mnemonic == "call" {
                guard let i = GeneralRegister.arguments.firstIndex(of: register) else { return shape }
                let target = instruction.target.map(subject.describe) ?? "a pointer"
                return "\(shape), argument \(i + 1) of \(target)"
            }
            if instruction.flow == .end { return register == .rax ? "\(shape), returned" : shape }
            guard names.contains(register) else { continue }
            switch instruction.mnemonic {
            case "shr", "sar": shape = "frame number"
            case "shl": shape = shape == "frame number" ? "struct page" : shape
            case "mov":
                if case .memory = first { return "\(shape), stored" }
                if names.count == 2, names[1] == register { register = names[0] } else { return shape }
            case "add", "or", "and", "sub": if names.first != register { return shape }
            default: return shape
            }
        }
        return shape
    }
}
