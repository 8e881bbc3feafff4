// SPDX-License-Identifier: MIT

// The sites of one function: what was read is followed to all that is done with
// it, which says what each translates, and whether that is understood.

import Addressing
import Disassembly
import KernelImage
import KernelRewrite

/// Why a site cannot be led elsewhere.
struct Unobservable: Error {
    let reason: String
}

extension Result where Failure == Unobservable {
    var problem: String? { if case .failure(let why) = self { why.reason } else { nil } }
}

/// The sites of one function.
struct SiteFinder {
    var sites: [TranslationSite] = []

    /// What is done with a value that was read.
    struct Use {
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
    static let mostBlocks = 4

    let unit: CodeUnit
    let subject: AuditSubject
    /// Numbers of the blocks before each.
    private(set) var before: [[Int]]

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
    static func uses(
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
        let goesBack = real.contains(where: \.reverse) && real.allSatisfy { $0.problem == nil }
        let looks = isOpen || goesBack ? looks(real, from: number) : .success(nil)
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
            constants: named,
            isPinned: kind == .constant && subject.kernel != nil ? named.allSatisfy(subject.stays) : nil,
            observed: try? looks.get(), whyNotObserved: looks.problem ?? (kind == .notUnderstood ? remark : nil),
            rewritten: try? lookups.get(), whyNotRewritten: lookups.problem, proof: proof)
    }

    /// The number of the instruction that makes a frame number of a sum, if nothing is added before.
    func shift(of use: Use) -> Int? {
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

    /// The image's addresses when every use translates a known one.
    func constants(_ uses: [Use]) -> [VirtualAddress]? {
        var found: [VirtualAddress] = []
        for use in uses {
            guard let constant = use.constant, let address = address(constant) else { return nil }
            if !found.contains(address) { found.append(address) }
        }
        return found
    }

    /// The address less START_KERNEL_MAP that a number is, of the image, or of what a module names.
    private func address(_ constant: UInt64) -> VirtualAddress? {
        guard let map = subject.kernel?.map else {
            let address = VirtualAddress(constant &+ 0xffff_ffff_8000_0000)
            return subject.index.covering(address).isEmpty ? nil : address
        }
        guard constant >= map.physicalBase.rawValue, constant <= map.physicalRange.upperBound.rawValue else {
            return nil
        }
        return map.virtualBase + (constant - map.physicalBase.rawValue)
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

extension Instruction {
    /// Whether the memory operand is read: not only written, and not only its address taken.
    fileprivate var readsMemory: Bool {
        if mnemonic == "lea" { return false }
        return operands.enumerated().contains { number, operand in
            if case .memory = operand { number > 0 || mnemonic != "mov" } else { false }
        }
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
