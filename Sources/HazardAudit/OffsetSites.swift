// SPDX-License-Identifier: MIT

// Where does a kernel subtract the offset between virtual and physical addresses
// of its image, on architectures that keep it in memory? Each instruction that
// reads it is followed, along every path, to the subtractions (from virtual to
// physical) and additions (back) that use what was read.

public import Addressing
import Disassembly
import KernelImage

/// Where the offset lies.
public enum OffsetPlace: Equatable, Sendable {
    case address(VirtualAddress)
    /// Somewhere in a structure: any of its members may be it.
    case within(Range<VirtualAddress>, reason: String)
    case missing(reason: String)

    /// Finds the variable, and derives the member's place from the kernel's description of its types.
    public init(_ subject: AuditSubject, _ architecture: OffsetArchitecture) {
        let name = architecture.variable
        guard let symbol = subject.symbols(named: name).first(where: { $0.section != 0 }) else {
            self = .missing(reason: "no symbol \(name)")
            return
        }
        guard let member = architecture.member else {
            self = .address(symbol.value)
            return
        }
        let whole = symbol.value..<symbol.value + max(symbol.size, 1)
        guard let types = subject.sections.first(where: { $0.name == ".BTF" }).flatMap({ TypeFormat($0.bytes) }) else {
            self = .within(whole, reason: "where \(member) lies in \(name) is not known: no types (BTF) in the image")
            return
        }
        // A structure of another size is another structure.
        let found = types.members(named: member).filter { $0.structureSize == symbol.size }
        guard found.count == 1, let offset = found.first?.offset else {
            self = .within(
                whole, reason: "where \(member) lies in \(name) is not known: \(found.count) structures say it")
            return
        }
        self = .address(symbol.value + offset)
    }

    /// Why it is not known.
    public var problem: String? {
        switch self {
        case .address: nil
        case .within(_, let reason), .missing(let reason): reason
        }
    }

    var range: Range<VirtualAddress>? {
        switch self {
        case .address(let address): address..<address + 8
        case .within(let range, _): range
        case .missing: nil
        }
    }
}

extension TranslationSites {
    /// All sites of a kernel that reads the offset at a place.
    public init(_ subject: AuditSubject, _ architecture: OffsetArchitecture, at place: OffsetPlace) {
        let reader = PlainReader(subject, architecture)
        var sites: [TranslationSite] = []
        var skipped: [(address: VirtualAddress, reason: String)] = []
        var seen: Set<VirtualAddress> = []
        for function in Self.functions(reader, place) {
            let unit = PlainUnit(function, reader)
            if !unit.isComplete {
                skipped.append((function.lowerBound, "\(subject.describe(function.lowerBound)) is too long"))
            }
            for address in unit.unexplained {
                skipped.append((address, "no path that is known leads to the code there: a site may be missing"))
            }
            if let first = unit.undecoded.first {
                skipped.append((first, "\(unit.undecoded.count) stretches of the code there do not decode"))
            }
            let finder = OffsetSiteFinder(unit, reader, place)
            for site in finder.sites where seen.insert(site.address).inserted { sites.append(site) }
            if let problem = finder.problem { skipped.append((function.lowerBound, problem)) }
        }
        self.init(sites: sites, skipped: skipped)
    }

    /// Functions that may form the offset's address, parts last: those are looked at with what they are parts of.
    private static func functions(_ reader: PlainReader, _ place: OffsetPlace) -> [Range<VirtualAddress>] {
        guard let range = place.range else { return [] }
        var found: [VirtualAddress: Range<VirtualAddress>] = [:]
        for section in reader.subject.sections where section.isExecutable && section.bytes.count >= 4 {
            unsafe section.bytes.span.bytes.withUnsafeBytes { bytes in
                for at in stride(from: 0, through: bytes.count - 4, by: reader.architecture.alignment) {
                    let word = unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
                    let address = section.address + UInt64(at)
                    guard reader.architecture.mayForm(word, address, range),
                        let function = reader.function(around: address)
                    else { continue }
                    found[function.lowerBound] = function
                }
            }
        }
        let functions = found.values.sorted { $0.lowerBound < $1.lowerBound }
        let isPart = { (function: Range<VirtualAddress>) in
            reader.subject.index.function(at: function.lowerBound).map(reader.subject.isPart) ?? false
        }
        return functions.filter { !isPart($0) } + functions.filter(isPart)
    }
}

/// The sites of one function.
private struct OffsetSiteFinder {
    private(set) var sites: [TranslationSite] = []
    /// Why sites may be missing.
    private(set) var problem: String?

    private enum Kind {
        /// It is subtracted: directly, or with something added to it before.
        case forward, forwardOfSum
        /// Something is added to it: backward, or on the way to a subtraction.
        case added
        /// Something is added to a sum: the address, when a constant was added before.
        case addedToSum
        /// The sum is used for something else.
        case sumUsed
        case offset
        case problem(String)
    }

    private struct Use {
        let number: Int
        let kind: Kind
        var register: Int?
        var constant: UInt64?
        var result: Int?
    }

    private let unit: PlainUnit
    private let reader: PlainReader
    private let place: OffsetPlace
    private var architecture: OffsetArchitecture { reader.architecture }

    init(_ unit: PlainUnit, _ reader: PlainReader, _ place: OffsetPlace) {
        self.unit = unit
        self.reader = reader
        self.place = place
        guard let range = place.range else { return }
        var reads: [Int] = []
        var writes: [Int] = []
        var doubtful: [Int] = []
        let constants = OffsetFlow(unit, architecture, offset: range.lowerBound, reads: [])
        guard constants.isSettled else {
            problem = "\(reader.subject.describe(unit.function.lowerBound)) has too many paths"
            return
        }
        constants.visit { number, effect, state in
            switch effect {
            case .load(_, let base, let displacement, _):
                let place = (state[base].constant ?? state[base].sometimes).map { VirtualAddress($0 &+ displacement) }
                guard let place, range.contains(place) else { break }
                if state[base].constant == nil {
                    doubtful.append(number)
                } else if !reads.contains(number) {
                    reads.append(number)
                }
            case .store(_, let base, let displacement, _):
                let place = state[base].constant.map { VirtualAddress($0 &+ displacement) }
                if let place, range.contains(place), !writes.contains(number) { writes.append(number) }
            case .set, .add, .addConstant, .subtract, .choose, .use: break
            }
        }
        for number in writes { sites.append(site(number, [Use(number: number, kind: .offset)])) }
        for number in doubtful {
            sites.append(site(number, [Use(number: number, kind: .problem("reads the offset on some paths only"))]))
        }
        if case .within(_, let reason) = place {
            for number in reads { sites.append(site(number, [Use(number: number, kind: .problem(reason))])) }
            return
        }
        for start in stride(from: 0, to: reads.count, by: 64) {
            let group = Array(reads[start..<min(start + 64, reads.count)])
            let found = uses(group, range.lowerBound)
            for (number, uses) in zip(group, found) { sites.append(site(number, uses)) }
        }
    }

    private func uses(_ reads: [Int], _ offset: VirtualAddress) -> [[Use]] {
        var uses = [[Use]](repeating: [], count: reads.count)
        func note(_ bits: UInt64, _ use: Use) {
            for i in reads.indices where bits & 1 << UInt64(i) != 0 { uses[i].append(use) }
        }
        let flow = OffsetFlow(
            unit, architecture, offset: offset, reads: reads.map { unit.instructions[$0].address })
        guard flow.isSettled else {
            for i in reads.indices {
                uses[i] = [Use(number: reads[i], kind: .problem("the function has too many paths"))]
            }
            return uses
        }
        flow.visit { number, effect, state in
            func use(_ kind: Kind, _ register: Int?, _ result: Int? = nil) -> Use {
                Use(
                    number: number, kind: kind, register: register, constant: register.flatMap { state[$0].constant },
                    result: result)
            }
            func problem() -> Use {
                let instruction = unit.instructions[number]
                return use(.problem("used by \(instruction.text) at \(instruction.address)"), nil)
            }
            switch effect {
            case .set, .choose: break
            case .addConstant(_, let from, let amount):
                if amount != 0 {
                    note(state[from].reads, Use(number: number, kind: .added, constant: amount))
                }
            case .add(let to, let first, let second):
                for (base, other) in [(first, second), (second, first)] {
                    note(state[base].reads, state[other].reads != 0 ? problem() : use(.added, other, to))
                    note(state[base].negatives, use(.forward, other, to))
                    note(state[base].sums, use(.addedToSum, other, to))
                }
            case .subtract(let to, let first, let second):
                if first == PlainInstruction.zero {
                    note(state[second].sums | state[second].negatives, problem())
                } else {
                    note(state[first].negatives | state[second].negatives, problem())
                    note(state[second].reads, use(.forward, first, to))
                    note(state[second].sums, use(.forwardOfSum, first, to))
                    note(state[first].reads, state[second].constant == nil ? problem() : use(.added, nil))
                }
            case .load(_, let base, _, _):
                note(state[base].reads, problem())
                note(state[base].sums, use(.sumUsed, nil))
            case .store(let from, let base, _, _):
                note(state[base].reads, problem())
                note(state[base].sums, use(.sumUsed, nil))
                if state[base].stack == nil {
                    note(state[from].reads | state[from].negatives, use(.offset, nil))
                    note(state[from].sums, use(.sumUsed, nil))
                }
            case .use(let register):
                note(state[register].reads | state[register].negatives, problem())
                note(state[register].sums, use(.sumUsed, nil))
            }
        }
        flow.visitEnds { number, state in
            let isCall = unit.instructions[number].flow == .call || unit.instructions[number].target != nil
            let passed = isCall ? architecture.arguments : architecture.arguments.prefix(1)
            note(passed.reduce(0) { $0 | state[$1].reads }, Use(number: number, kind: .offset))
        }
        return uses
    }

    // MARK: Judging

    private func site(_ number: Int, _ uses: [Use]) -> TranslationSite {
        var translations: [Use] = []
        var sums: [Use] = []
        var later: [Use] = []
        var (isOffset, isSumUsed, isForward) = (false, false, false)
        var remark = ""
        for use in uses {
            switch use.kind {
            case .forward, .forwardOfSum:
                translations.append(use)
                isForward = true
            case .added: sums.append(use)
            case .addedToSum: later.append(use)
            case .sumUsed: isSumUsed = true
            case .offset: isOffset = true
            case .problem(let why): if remark.isEmpty { remark = why }
            }
        }
        let ofSum = translations.contains { if case .forwardOfSum = $0.kind { true } else { false } }
        var kind = TranslationSite.Kind.notUnderstood
        var translated = ""
        if !remark.isEmpty {
            // Said already.
        } else if ofSum && isSumUsed || isForward && !ofSum && !sums.isEmpty {
            remark = "used both ways"
        } else if isForward {
            (kind, translated) = judge(translations, from: number)
        } else if !sums.isEmpty {
            let isLater = sums.allSatisfy { $0.register == nil } && !later.isEmpty
            translations = isLater ? later : sums
            if let register = translations.compactMap(\.register).first {
                (kind, translated) = (.reverse, name(register))
            } else {
                remark = "only a constant is added to it"
            }
        } else if isOffset {
            kind = .offset
        } else {
            remark = "nothing uses what is read"
        }
        let subject = reader.subject
        let address = unit.instructions[number].address
        return TranslationSite(
            address: address, place: subject.describe(address), instruction: unit.instructions[number].text, kind: kind,
            translated: translated, consumers: translations.map { unit.instructions[$0.number].address },
            result: translations.first.map(destination) ?? "", remark: remark,
            constants: kind == .constant ? translations.compactMap(\.constant).map { VirtualAddress($0) } : [],
            isPinned: nil, observed: nil, whyNotObserved: nil, rewritten: nil,
            whyNotRewritten: nil, proof: nil)
    }

    private func judge(_ uses: [Use], from read: Int) -> (TranslationSite.Kind, translated: String) {
        let subject = reader.subject
        let constants = uses.compactMap(\.constant)
        if constants.count == uses.count {
            var names: [String] = []
            for name in constants.map({ subject.describe(VirtualAddress($0)) }) where !names.contains(name) {
                names.append(name)
            }
            return (.constant, names.joined(separator: ", "))
        }
        let registers = Set(uses.map(\.register))
        if registers.count == 1, let register = registers.first ?? nil, register < PlainInstruction.zero,
            uses.allSatisfy({ isIntact(register, from: read, to: $0.number) })
        {
            return (.register, name(register))
        }
        return (.shared, Set(uses.map { name($0.register) }).sorted().joined(separator: ", "))
    }

    private func name(_ register: Int?) -> String {
        register.map { $0 < architecture.registerNames.count ? architecture.registerNames[$0] : "a shifted register" }
            ?? "a constant"
    }

    /// Whether nothing writes a register between a read and a use of what was read, on any path.
    private func isIntact(_ register: Int, from read: Int, to use: Int) -> Bool {
        let between = unit.reached(from: read, along: \.after, except: read).intersection(
            unit.reached(from: use, along: \.before, except: read))
        return between.subtracting([use]).allSatisfy { number in
            let instruction = unit.instructions[number]
            let written = instruction.allWrites | (instruction.flow == .call ? architecture.callerSaved : 0)
            return written & 1 << UInt64(register) == 0
        }
    }

    /// Where the sum goes: the first instruction behind that does more than shift it.
    private func destination(_ use: Use) -> String {
        guard var register = use.result else { return "" }
        var shape = "address"
        for instruction in unit.instructions[(use.number + 1)...].prefix(24) {
            if instruction.flow == .call {
                guard let i = architecture.arguments.firstIndex(of: register) else { continue }
                let target = instruction.target.map(reader.subject.describe) ?? "a pointer"
                return "\(shape), argument \(i - architecture.arguments.lowerBound + 1) of \(target)"
            }
            if instruction.flow == .jump { return shape }
            if instruction.flow == .end {
                return register == architecture.arguments.lowerBound ? "\(shape), returned" : shape
            }
            var next = register
            for effect in instruction.effects {
                switch effect {
                case .store(register, _, _, _): return "\(shape), stored"
                case .addConstant(let to, register, 0): next = to
                case .use(register):
                    guard instruction.text.hasPrefix("lsr") || instruction.text.hasPrefix("srl") else { return shape }
                    shape = "frame number"
                    next = instruction.writes == 0 ? register : instruction.writes.trailingZeroBitCount
                default: continue
                }
            }
            if next == register, instruction.allWrites & 1 << UInt64(register) != 0 { return shape }
            register = next
        }
        return shape
    }
}
