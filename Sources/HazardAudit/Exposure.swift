// SPDX-License-Identifier: MIT

// Applies the rules to what one function does: which addresses get out, by
// which rule, and how many bytes behind each.

import Addressing
import Disassembly

/// Memory that gets to somebody who goes by physical addresses.
struct Exposure {
    let rule: Rule
    /// Virtual addresses where it may begin.
    var starts: [Root]
    var length: Value
    /// Where in its page they begin instead, when that was said by number.
    var offsetInPage: UInt64?
    /// How certain the rule is that this is it.
    var ceiling = Rule.Severity.hazard
    /// The instructions that it goes through, the last first.
    var path: [VirtualAddress]
}

/// A structure that leads to memory, handed in by callers.
struct PendingStructure {
    let rule: Rule
    let pointer: [Root]
    /// How many elements there are, if it is an array.
    var count = 1
    var path: [VirtualAddress]
}

/// What one function exposes.
struct ExposureFinder {
    private let subject: AuditSubject
    private let memory: StaticMemory
    private let events: FunctionEvents
    private(set) var exposures: [Exposure] = []
    private(set) var pending: [PendingStructure] = []

    init(_ events: FunctionEvents, _ subject: AuditSubject, _ memory: StaticMemory, _ rules: [VirtualAddress: [Rule]]) {
        self.subject = subject
        self.memory = memory
        self.events = events
        for call in events.calls {
            for target in call.targets { for rule in rules[target] ?? [] { apply(rule, call) } }
        }
        for store in events.stores { apply(store) }
        for call in events.hypercalls {
            for value in call.values { handOut(value, .handedOut, call.address) }
        }
    }

    /// What a structure leads to at a call that passes it.
    init(
        _ structure: PendingStructure, _ pointer: [Root], _ call: CallEvent, _ events: FunctionEvents,
        _ subject: AuditSubject, _ memory: StaticMemory
    ) {
        self.subject = subject
        self.memory = memory
        self.events = events
        let path = structure.path + [call.address]
        switch structure.rule.reach {
        case .transfers: transfers(at: pointer, structure.rule, call.state, path)
        case .messages: messages(at: pointer, structure.count, structure.rule, call.state, path)
        default: break
        }
    }

    private mutating func add(
        _ rule: Rule, _ starts: [Root], _ length: Value, _ path: [VirtualAddress],
        ceiling: Rule.Severity = .hazard, offsetInPage: UInt64? = nil
    ) {
        let traced = starts.filter {
            $0.form == .address && $0.factor == 1 && !$0.isPlainNumber && $0.origin != .many
        }
        guard !traced.isEmpty else { return }
        exposures.append(
            Exposure(
                rule: rule, starts: traced, length: length, offsetInPage: offsetInPage, ceiling: ceiling, path: path))
    }

    private mutating func apply(_ rule: Rule, _ call: CallEvent) {
        let path = [call.address]
        func length(_ length: Rule.Length) -> Value {
            switch length {
            case .argument(let i): call.argument(i)
            case .bytes(let count): .constant(count)
            case .unknown: .other
            }
        }
        switch rule.reach {
        case .buffer(let i, let count), .eachPage(let i, let count):
            add(rule, call.argument(i).roots, length(count), path)
        case .flagged(let i, let count, let flags, let bit):
            let isSet = call.argument(flags).has(bit)
            if isSet != false {
                add(
                    rule, call.argument(i).roots, length(count), path,
                    ceiling: isSet == nil ? .suspicious : .hazard)
            }
        case .page(let i, let offset, let count):
            let offset = offset.map(call.argument) ?? .constant(0)
            add(rule, page: call.argument(i), offset: offset, length(count), path)
        case .physical(let i): handOut(call.argument(i), rule, call.address)
        case .walk(let i), .walkPage(let i): add(rule, call.argument(i).roots, .other, path)
        case .copied(let i): add(rule, call.argument(i).roots, .other, path)
        case .prints:
            for i in 0..<6 {
                // What is printed through a pointer is in a slot.
                guard let slot = call.argument(i).stackOffset, let value = call.state.slots[slot] else { continue }
                handOut(value, rule, call.address)
            }
        case .messages(let i, let count):
            let known = call.argument(count).low.constant.map { Int(min($0, Self.messageLimit)) }
            messages(at: call.argument(i).roots, known ?? Int(Self.messageLimit), rule, call.state, path)
        case .transfers(let i): message(call.argument(i), rule, call)
        case .request(let i): request(call.argument(i), rule, call)
        case .entry, .pages, .handedOut: break
        }
    }

    private mutating func handOut(_ value: Value, _ reach: Rule.Reach, _ address: VirtualAddress) {
        for rule in Rule.all where rule.reach == reach { handOut(value, rule, address) }
    }

    private mutating func handOut(_ value: Value, _ rule: Rule, _ address: VirtualAddress) {
        add(rule, value.roots.filter { $0.form == .physical }.map { $0.with(.address) }, .other, [address])
    }

    /// What a `struct page` and an offset in it lead to.
    private mutating func add(
        _ rule: Rule, page: Value, offset: Value, _ length: Value, _ path: [VirtualAddress]
    ) {
        let starts = page.roots.filter { $0.form == .page }.map { $0.with(.address) }
        // An offset made of the same address leads to it; a number counts from the start of the page.
        add(rule, starts, length, path, offsetInPage: offset.constant)
    }

    private mutating func apply(_ store: StoreEvent) {
        if store.value.roots.contains(where: { $0.form == .page }), store.width == 8 {
            let length = sibling(of: store, Layout.Entry.length)
            let offset = sibling(of: store, Layout.Entry.offset) ?? .constant(0)
            for rule in Rule.all where rule.reach == (length == nil ? .pages : .entry) {
                add(
                    rule, page: store.value, offset: length == nil ? .constant(0) : offset, length ?? .constant(4096),
                    [store.address])
            }
        }
        if store.place.stackOffset == nil { handOut(store.value, .handedOut, store.address) }
    }

    /// What the same function stores at a distance from a store, as in another field of the same structure.
    private func sibling(of store: StoreEvent, _ distance: UInt64) -> Value? {
        var found: Value?
        for other in events.stores where other.width == 4 {
            let fits = store.place.roots.contains { here in
                other.place.roots.contains { there in
                    guard here.origin == there.origin, here.form == there.form else { return false }
                    let bytes = there.offset &- here.offset
                    return bytes == distance
                        || (here.step > distance && here.step == there.step
                            && Int64(bitPattern: bytes &- distance).magnitude % here.step == 0)
                }
            }
            if fits { found = found?.merged(other.value) ?? other.value }
        }
        return found
    }

    /// What is in a field of a structure, at a call.
    private func field(_ pointer: Root, _ offset: UInt64, _ width: Int, _ state: MachineState) -> Value {
        let place = pointer + offset
        let mask: UInt64 = width == 8 ? .max : 1 << UInt64(8 * width) - 1
        func narrow(_ value: Value) -> Value { value.constant.map { .constant($0 & mask) } ?? value }
        switch pointer.origin {
        case .stack: return narrow(state.load(width, at: place.offset))
        case .number:
            var value = Value(roots: width == 8 ? memory.cells[place.offset] ?? [] : [])
            for store in events.stores where store.place.roots.contains(place) { value = value.merged(store.value) }
            if let number = memory.initial(place.offset, width), number != 0 || value.roots.isEmpty {
                value = value.merged(.constant(number))
            }
            return narrow(value)
        default:
            let stores = events.stores.filter { $0.place.roots.contains(place) }
            return stores.isEmpty ? .other : narrow(stores.reduce(Value()) { $0.merged($1.value) })
        }
    }

    /// So many messages are looked at where their number is not known.
    private static let messageLimit: UInt64 = 16

    private mutating func messages(
        at pointers: [Root], _ count: Int, _ rule: Rule, _ state: MachineState, _ path: [VirtualAddress]
    ) {
        for pointer in pointers where pointer.form == .address && pointer.isExact && !pointer.isPlainNumber {
            if case .argument = pointer.origin {
                pending.append(PendingStructure(rule: rule, pointer: [pointer], count: count, path: path))
            }
            for i in 0..<count {
                let message = pointer + UInt64(i) * Layout.Message.size
                let buffer = field(message, Layout.Message.buffer, 8, state)
                guard buffer.roots.contains(where: { !$0.isPlainNumber }) else {
                    if i == 0 || buffer != .other { continue } else { break }
                }
                let isSafe = field(message, Layout.Message.flags, 2, state).has(Layout.Message.isSafe)
                // Without the flag the core has what an adapter maps copied.
                if isSafe == false { continue }
                add(
                    rule, buffer.roots, field(message, Layout.Message.length, 2, state), path,
                    ceiling: isSafe == nil ? .suspicious : .hazard)
            }
        }
    }

    /// The transfers of a message: those that the same function put into its list, or that lie beside it on the stack.
    private mutating func message(_ message: Value, _ rule: Rule, _ call: CallEvent) {
        let heads = message.roots.filter { !$0.isPlainNumber && $0.form == .address }
        let path = [call.address]
        for store in events.stores where store.width == 8 && store.value.roots.contains(where: heads.contains) {
            for place in store.place.roots where place.form == .address {
                switch place.origin {
                case .argument:
                    let pointer = Root(origin: place.origin, offset: 0)
                    pending.append(PendingStructure(rule: rule, pointer: [pointer], path: path))
                case .number:
                    guard let object = subject.object(at: VirtualAddress(place.offset)) else { continue }
                    transfers(at: [.number(object.lowerBound.rawValue)], rule, call.state, path)
                default: break
                }
            }
        }
        if message.stackOffset != nil { transfersOnStack(rule, call.state, path) }
    }

    private mutating func transfers(
        at pointers: [Root], _ rule: Rule, _ state: MachineState, _ path: [VirtualAddress]
    ) {
        for pointer in pointers where pointer.form == .address && pointer.isExact {
            if case .argument = pointer.origin {
                pending.append(PendingStructure(rule: rule, pointer: [pointer], path: path))
                continue
            }
            let length = field(pointer, Layout.Transfer.length, 4, state)
            for buffer in [Layout.Transfer.sent, Layout.Transfer.received] {
                add(rule, field(pointer, buffer, 8, state).roots, length, path)
            }
            if pointer.origin == .stack { transfersOnStack(rule, state, path) }
        }
    }

    /// Pointers on the stack that have a number where a transfer's length is.
    private mutating func transfersOnStack(_ rule: Rule, _ state: MachineState, _ path: [VirtualAddress]) {
        for (slot, value) in zip(state.slots.places, state.slots.values) {
            let objects = value.roots.filter { root in
                root.origin == .number && subject.section(at: VirtualAddress(root.offset)) != nil
            }
            guard !objects.isEmpty else { continue }
            for distance in [
                Layout.Transfer.length - Layout.Transfer.sent, Layout.Transfer.length - Layout.Transfer.received,
            ] {
                guard let length = state.slots[slot &+ distance], length.isPlainNumber, length.constant != 0 else {
                    continue
                }
                add(rule, objects, length, path)
                break
            }
        }
    }

    /// The fields of a urb that is filled and submitted here.
    private mutating func request(_ request: Value, _ rule: Rule, _ call: CallEvent) {
        for urb in request.roots where urb.form == .address && urb.isExact && !urb.isPlainNumber {
            var fields: [UInt64: (width: Int, value: Value)] = [:]
            for store in events.stores {
                for place in store.place.roots
                where place.isExact && place.origin == urb.origin && place.form == .address
                    && place.offset &- urb.offset < 512
                {
                    let offset = place.offset &- urb.offset
                    fields[offset] = (store.width, fields[offset].map { $0.value.merged(store.value) } ?? store.value)
                }
            }
            let complete = fields.filter { _, field in
                field.width == 8
                    && field.value.roots.contains { root in
                        root.origin == .number
                            && subject.section(at: VirtualAddress(root.offset))?.isExecutable == true
                    }
            }.keys.max()
            for (offset, field) in fields.sorted(by: { $0.key < $1.key }) where field.width == 8 {
                if let complete, offset + Layout.Request.contextBeforeComplete >= complete { continue }
                let isSetup =
                    fields[offset &- Layout.Request.lengthBeforeSetup].map { $0.width == 4 } ?? false
                let length =
                    isSetup
                    ? .constant(Layout.Request.setup)
                    : fields.filter { $0.key > offset && $0.value.width == 4 }.min { $0.key < $1.key }?.value.value
                guard let length else { continue }
                let objects = field.value.roots.filter { $0.origin == .number || $0.origin == .stack }
                add(rule, objects, length, [call.address], ceiling: complete == nil ? .suspicious : .hazard)
            }
        }
    }
}
