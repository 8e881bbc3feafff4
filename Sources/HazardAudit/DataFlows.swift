// SPDX-License-Identifier: MIT

// Which static objects, stack slots and module objects get to a device, or to
// whoever else goes by physical addresses: from the interfaces that Rules.swift
// names, back through the function that calls them and through its callers.

public import Addressing
import Disassembly
import KernelImage

/// All flows of a kernel or a module.
public struct DataFlows: Sendable {
    /// The worst first.
    public private(set) var findings: [FlowFinding] = []
    /// Functions that are too long, or have too many paths to follow.
    public private(set) var skipped: [String] = []
    /// In how many places code does not decode that was looked at, by function.
    public private(set) var undecoded: [VirtualAddress: Int] = [:]
    /// Functions that were looked at.
    public private(set) var functions = 0
    private let exposures: [Exposure]

    public init(_ subject: AuditSubject, as reading: FlowReading) {
        var search = FlowSearch(subject)
        search.run()
        functions = search.functions
        skipped = search.skipped.sorted()
        undecoded = search.undecoded
        exposures = search.found
        findings = findings(in: subject, as: reading)
    }

    /// The same flows with the objects taken for something else, the worst first.
    public func findings(in subject: AuditSubject, as reading: FlowReading) -> [FlowFinding] {
        let judge = FlowJudge(subject, reading)
        var seen: Set<String> = []
        let all = exposures.flatMap { judge.findings(of: $0) }.filter { seen.insert($0.identity).inserted }
        return all.sorted { ($1.severity, $0.site, $0.object) < ($0.severity, $1.site, $1.object) }
    }
}

/// Follows exposures to where they begin.
private struct FlowSearch {
    /// What a function does with what its callers hand it.
    private struct Obligations {
        var exposures: [Exposure] = []
        var structures: [PendingStructure] = []
    }

    /// So many functions may lie between an object and the interface.
    private static let depth = 4
    /// A module with more code is looked at only around the interfaces.
    private static let small = 1 << 16

    private let subject: AuditSubject
    private let rules: [VirtualAddress: [Rule]]
    private var memory: StaticMemory
    private var units: [VirtualAddress: CodeUnit] = [:]
    /// Of a small module's functions.
    private var events: [VirtualAddress: FunctionEvents] = [:]
    private(set) var found: [Exposure] = []
    private(set) var skipped: Set<String> = []
    /// Whether all of its functions are followed.
    private let isSmall: Bool
    var functions: Int { units.count }
    var undecoded: [VirtualAddress: Int] {
        units.mapValues { unit in
            // Bytes in a row are one place.
            let bytes = Set(unit.undecoded)
            return bytes.count { !bytes.contains($0 + .max) }
        }.filter { $0.value > 0 }
    }

    init(_ subject: AuditSubject) {
        self.subject = subject
        memory = StaticMemory(subject)
        let code = subject.sections.filter(\.isExecutable).reduce(0) { $0 + $1.bytes.count }
        isSmall = subject.kernel == nil && code < Self.small
        var names: [String: [Rule]] = [:]
        for rule in Rule.all { for name in rule.functions { names[name, default: []].append(rule) } }
        var rules: [VirtualAddress: [Rule]] = [:]
        for symbol in subject.symbols {
            guard let known = names[subject.name(of: symbol)] else { continue }
            rules[symbol.value, default: []] += known
        }
        self.rules = rules
    }

    mutating func run() {
        var open = around(isSmall ? called { _ in true } : called { $0.severity != .safe }, withTranslations: true)
        if open.isEmpty { return }
        if isSmall {
            let reader = CodeReader(subject)
            for symbol in subject.symbols where symbol.kind == .function && !subject.isPart(symbol) {
                if units[symbol.value] == nil, let unit = reader.unit(around: symbol.value) {
                    units[symbol.value] = unit
                }
            }
            followAll()
            open = Array(units.keys)
        }
        var obligations = look(at: open.sorted(), for: [:])
        for _ in 0..<Self.depth where !obligations.isEmpty {
            open = isSmall ? Array(units.keys) : around(Set(obligations.keys), withTranslations: false)
            obligations = look(at: open.sorted(), for: obligations)
        }
        found = found.flatMap { fromFields($0) }
    }

    /// Interfaces with a rule that matters, and not only in functions that translate addresses themselves.
    private func called(_ matters: (Rule) -> Bool) -> Set<VirtualAddress> {
        Set(rules.filter { $0.value.contains { $0.reach != .prints && matters($0) } }.keys)
    }

    /// Follows all functions until static memory holds nothing new for them.
    private mutating func followAll() {
        var open = units.keys.sorted()
        var reads: [VirtualAddress: ReadPlaces] = [:]
        for _ in 0..<4 {
            for start in open {
                guard let unit = units[start] else { continue }
                let places = ReadPlaces()
                memory.reads = places
                events[start] = FunctionEvents(unit, surroundings, subject)
                reads[start] = places
            }
            memory.reads = nil
            var new: Set<UInt64> = []
            for start in events.keys.sorted() { new.formUnion(memory.learn(events[start]?.stores ?? [])) }
            open = reads.keys.sorted().filter { !(reads[$0]?.addresses.isDisjoint(with: new) ?? true) }
            if open.isEmpty { break }
        }
    }

    private var surroundings: FunctionFlow.Surroundings {
        let memory = memory
        let subject = subject
        return FunctionFlow.Surroundings(
            memory: { memory.read($0, $1) },
            returned: { instruction, state in
                if let target = instruction.target, let symbol = subject.index.covering(target).first {
                    let name = subject.name(of: symbol)
                    if Rule.givesBackFirst.contains(name) { return state[.rdi] }
                    if Rule.leavesRegisters.contains(name) { return nil }
                }
                return Value(roots: [Root(origin: .result(instruction.address.rawValue), offset: 0)])
            },
            followsUnreached: false)
    }

    /// Starts of the functions that call one of these, or that translate addresses.
    private mutating func around(_ targets: Set<VirtualAddress>, withTranslations: Bool) -> [VirtualAddress] {
        var places = References.calls(to: targets, in: subject)
        if withTranslations {
            for base in subject.addresses(named: "phys_base") {
                places += References.candidates(to: base, in: subject)
            }
        }
        let reader = CodeReader(subject)
        var starts: Set<VirtualAddress> = []
        var last: CodeUnit?
        for place in places.sorted() {
            if last?.function.contains(place) != true { last = reader.unit(around: place) }
            guard let unit = last else { continue }
            starts.insert(unit.function.lowerBound)
            if units[unit.function.lowerBound] == nil { units[unit.function.lowerBound] = unit }
        }
        return Array(starts)
    }

    /// Applies the rules, or what is already known of functions, to functions; gives what their own callers decide.
    private mutating func look(
        at starts: [VirtualAddress], for known: [VirtualAddress: Obligations]
    ) -> [VirtualAddress: Obligations] {
        var next: [VirtualAddress: Obligations] = [:]
        for start in starts {
            guard let unit = units[start] else { continue }
            let events = self.events[start] ?? FunctionEvents(unit, surroundings, subject)
            guard events.isSettled, unit.isComplete else {
                skipped.insert(subject.describe(start))
                continue
            }
            var exposures: [Exposure] = []
            var structures: [PendingStructure] = []
            func take(_ finder: ExposureFinder) {
                exposures += finder.exposures
                structures += finder.pending
            }
            if known.isEmpty {
                take(ExposureFinder(events, subject, memory, rules))
            } else {
                for call in events.calls {
                    for obligation in call.targets.compactMap({ known[$0] }) {
                        exposures += obligation.exposures.compactMap { $0.handedIn(by: call) }
                        for structure in obligation.structures {
                            let pointer = structure.pointer.flatMap { $0.handedIn(by: call) }
                            if pointer.isEmpty { continue }
                            take(ExposureFinder(structure, pointer, call, events, subject, memory))
                        }
                    }
                }
            }
            for exposure in exposures {
                var mine = exposure
                mine.starts = exposure.starts.filter { if case .argument = $0.origin { false } else { true } }
                if !mine.starts.isEmpty { found.append(mine) }
                mine.starts = exposure.starts.filter { if case .argument = $0.origin { true } else { false } }
                // An interface that calls another one is known by its own rule.
                guard exposure.rule.severity != .safe || isSmall else { continue }
                if !mine.starts.isEmpty, rules[start] == nil {
                    next[start, default: Obligations()].exposures.append(mine)
                }
            }
            if !structures.isEmpty, rules[start] == nil { next[start, default: Obligations()].structures += structures }
        }
        return next
    }

    /// What was read from a field of some structure is what any function stores in a field at the same offset, if it
    /// stores the length, too, where that was read.
    private func fromFields(_ exposure: Exposure) -> [Exposure] {
        var all = [exposure]
        for case .loaded(_, let field) in exposure.starts.map(\.origin) {
            guard let (_, lengthField) = exposure.length.loadedField else { continue }
            for one in events.values {
                for store in one.stores where store.width == 8 && store.place.names(field: field) {
                    let lengths = one.stores.filter {
                        $0.place.names(field: lengthField)
                            && !$0.place.roots.map(\.origin).filter(store.place.roots.map(\.origin).contains).isEmpty
                    }.compactMap(\.value.constant)
                    for root in store.value.roots where root.origin == .number && root.form == .address {
                        let address = VirtualAddress(root.offset)
                        guard let object = subject.object(at: address), lengths.count == 1,
                            subject.section(at: address)?.isExecutable == false
                        else { continue }
                        // Offsets of fields are not unique. A length that is the object's shows that it is meant.
                        guard lengths[0] == object.upperBound - address else { continue }
                        all.append(
                            Exposure(
                                rule: exposure.rule, starts: [root], length: .constant(lengths[0]),
                                ceiling: exposure.ceiling,
                                path: exposure.path + [store.address]))
                    }
                }
            }
        }
        return all
    }
}

extension Exposure {
    /// The same, as a caller hands it in.
    fileprivate func handedIn(by call: CallEvent) -> Exposure? {
        var exposure = self
        exposure.starts = starts.flatMap { $0.handedIn(by: call) }
        if exposure.starts.isEmpty { return nil }
        var handed = Value(isOther: length.isOther)
        for root in length.roots {
            guard case .argument(let number) = root.origin, root.form == .address || root.form == .low, root.isExact
            else {
                handed = handed.merged(Value(roots: [root]))
                continue
            }
            handed = handed.merged(call.argument(number).multiplied(by: root.factor).adding(root.offset))
        }
        exposure.length = handed
        exposure.path.append(call.address)
        return exposure
    }
}

extension Root {
    /// What an argument is at a call.
    fileprivate func handedIn(by call: CallEvent) -> [Root] {
        guard case .argument(let number) = origin, factor == 1 else { return [] }
        let bytes = Root(offset: offset, step: step, span: span)
        return call.argument(number).roots.filter { $0.form == .address && !$0.isPlainNumber }.map { $0 + bytes }
    }
}

extension Value {
    /// Where a number was read from, if it was read from memory.
    fileprivate var loadedField: (place: UInt64, field: UInt64)? {
        for case .loaded(let place, let field) in roots.map(\.origin) { return (place, field) }
        return nil
    }

    /// Whether it is the address of a field at an offset of a structure that is neither static nor on the stack.
    fileprivate func names(field: UInt64) -> Bool {
        roots.contains { root in
            guard root.isExact, root.form == .address, root.offset == field else { return false }
            switch root.origin {
            case .argument, .result, .loaded: return true
            case .number, .stack, .many: return false
            }
        }
    }
}

extension References {
    /// Addresses of direct calls and jumps to functions. Not all need be instructions.
    static func calls(to targets: Set<VirtualAddress>, in subject: AuditSubject) -> [VirtualAddress] {
        var found: [VirtualAddress] = []
        // Most places are ruled out by a few bits of where they lead.
        var bits = [Bool](repeating: false, count: 1 << 16)
        for target in targets { bits[Int(target.rawValue & 0xffff)] = true }
        for section in subject.sections where section.isExecutable && section.bytes.count >= 5 {
            unsafe section.bytes.span.bytes.withUnsafeBytes { bytes in
                let next = section.address.rawValue &+ 5
                for at in 0...bytes.count - 5 where unsafe bytes[at] & 0xfe == 0xe8 {
                    let word = unsafe Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: at + 1, as: Int32.self))
                    let target = next &+ UInt64(at) &+ UInt64(bitPattern: Int64(word))
                    if bits[Int(target & 0xffff)], targets.contains(VirtualAddress(target)) {
                        found.append(section.address + UInt64(at))
                    }
                }
            }
        }
        return found
    }
}
