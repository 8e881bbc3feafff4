// SPDX-License-Identifier: MIT

// What a register or a stack slot may hold, as far as an audit cares: addresses
// that can be traced back to something static, to an argument, to the stack or
// to what a call gave; what was computed from such an address by translation;
// the kernel's offset between virtual and physical addresses; numbers, where
// they bound an index or a length. Everything else is other.

import Disassembly

/// A number or an address with a known beginning: one value, or all at a distance of `step`.
struct Root: Hashable {
    enum Origin: Hashable {
        /// Nothing but the offset: a number, or the address of something static.
        case number
        /// What the caller passed.
        case argument(Int)
        /// Where the stack pointer was at entry.
        case stack
        /// What a call gave, by the address of the call.
        case result(UInt64)
        /// What an instruction read, by its address, from a place in memory that is not known but for its offset in a
        /// structure.
        case loaded(UInt64, field: UInt64)
        /// More than is worth telling apart.
        case many
    }

    /// What became of the address.
    enum Form: UInt8, Hashable {
        case address
        /// Its low half.
        case low
        /// Its offset in its page, and what is left of the page behind it.
        case inPage, restOfPage
        /// Its physical address, or a frame number.
        case physical
        /// Its `struct page`.
        case page
        /// Something else made of it.
        case made
    }

    var origin = Origin.number
    var offset: UInt64
    var form = Form.address
    /// 0 when the offset is the only one.
    var step: UInt64 = 0
    /// What an argument is multiplied by: then it is a number, and no address.
    var factor: UInt64 = 1
    /// From the first to the last, with a step; `unbounded` when there are all, before the offset, too.
    var span: UInt64 = 0

    static let unbounded = UInt64.max
    static let many = Root(origin: .many, offset: 0)

    static func number(_ value: UInt64) -> Root { Root(offset: value) }

    /// All numbers up to one.
    static func upTo(_ last: UInt64, step: UInt64 = 1) -> Root {
        Root(offset: 0, step: last == 0 ? 0 : step, span: last)
    }

    var isExact: Bool { step == 0 }

    /// Any of the multiples that a product of an argument may be.
    var counted: Root { factor == 1 ? self : Root(offset: offset, step: factor, span: Root.unbounded) }

    /// A number that is too small to be an address, or negative and small.
    var isPlainNumber: Bool {
        origin == .number && form == .address && (offset < 1 << 20 || offset > UInt64.max - 1 << 20)
    }

    /// The largest it can be, for a plain number that is not negative.
    var last: UInt64? {
        guard isPlainNumber, offset < 1 << 20, span < 1 << 41 else { return nil }
        return offset + span
    }

    /// Plus a number.
    static func + (root: Root, bytes: UInt64) -> Root {
        var sum = root
        switch root.form {
        case .address, .low: sum.offset = root.offset &+ bytes
        // x - __START_KERNEL_map is on the way to a physical address.
        case .physical: if bytes != 1 << 31 { sum.offset = root.offset &+ bytes }
        case .page: sum.offset = root.offset &+ UInt64(bitPattern: Int64(bitPattern: bytes) / 64 * 4096)
        case .inPage, .restOfPage: if bytes != 0 { sum.form = .made }
        case .made: break
        }
        return sum
    }

    /// Plus any of the numbers that another root stands for.
    static func + (root: Root, numbers: Root) -> Root {
        var sum = root + numbers.offset
        guard !numbers.isExact else { return sum }
        sum.step = gcd(root.step, numbers.step)
        let (span, overflow) = root.span.addingReportingOverflow(numbers.span)
        sum.span = overflow ? unbounded : span
        return sum
    }

    /// Somewhere around it.
    var anywhere: Root {
        var near = self
        near.step = 1
        near.span = Root.unbounded
        return near
    }

    func with(_ form: Form) -> Root {
        var root = self
        root.form = form
        return root
    }

    /// The form that adding a translation offset gives.
    func translated(_ translation: Translation) -> Root? {
        var root = self
        switch (form, translation) {
        case (.physical, .page), (.page, .page): root.form = .page
        case (.physical, _), (.page, _): break
        case (.address, .physical) where !isPlainNumber:
            root.form = .physical
            // The code has added it beforehand.
            if offset < 1 << 33 { root.offset = offset &- 1 << 31 }
        default: root.form = .made
        }
        return root.isPlainNumber ? nil : root
    }

    /// Whether all that another root stands for is among this.
    func covers(_ other: Root) -> Bool {
        if self == other { return true }
        guard origin == other.origin, form == other.form, factor == other.factor, !isExact, other.step % step == 0
        else { return false }
        let distance = other.offset &- offset
        if span == Root.unbounded {
            return Int64(bitPattern: distance).magnitude % step == 0
        }
        return distance <= span && distance % step == 0 && other.span <= span - distance
    }

    /// One root for two that are near each other: all at the largest distance that both allow.
    func widened(_ other: Root) -> Root? {
        guard origin == other.origin, form == other.form, factor == other.factor else { return nil }
        let distance = Int64(bitPattern: other.offset &- offset).magnitude
        guard distance < 1 << 24 else { return nil }
        var wide = Int64(bitPattern: other.offset &- offset) < 0 ? other : self
        wide.step = Root.gcd(Root.gcd(step, other.step), distance)
        wide.span = wide.step == 0 ? 0 : Root.unbounded
        return wide
    }

    private static func gcd(_ a: UInt64, _ b: UInt64) -> UInt64 {
        var (a, b) = (a, b)
        while b != 0 { (a, b) = (b, a % b) }
        return a
    }
}

extension Root: Comparable {
    private var key: (UInt64, UInt64, UInt64, UInt8, UInt64, UInt64) {
        let (kind, first, second): (UInt64, UInt64, UInt64) =
            switch origin {
            case .number: (0, 0, 0)
            case .argument(let number): (1, UInt64(number), 0)
            case .stack: (2, 0, 0)
            case .result(let call): (3, call, 0)
            case .loaded(let place, let field): (4, place, field)
            case .many: (5, 0, 0)
            }
        return (
            kind << 32 | UInt64(form.rawValue) << 40 &+ factor << 48, first, second, form.rawValue, offset, step &+ span
        )
    }

    static func < (a: Root, b: Root) -> Bool { a.key < b.key }
}

/// What is added to an address, or taken from it, to translate it.
struct Translation: OptionSet, Hashable {
    let rawValue: UInt8
    /// `phys_base`, and what a difference with `page_offset_base` makes.
    static let physical = Translation(rawValue: 1)
    /// `vmemmap_base`.
    static let page = Translation(rawValue: 2)
    /// `page_offset_base`: leads back to a virtual address when added.
    static let linear = Translation(rawValue: 4)
}

/// What may be in a place; several when paths meet.
struct Value: Equatable {
    var roots: [Root] = []
    /// The offset between virtual and physical addresses, as read by the references with these numbers.
    var bases: UInt64 = 0
    /// An offset that translates, where references are not told apart.
    var translation: Translation = []
    /// Anything else.
    var isOther = false

    static let other = Value(isOther: true)
    private static let limit = 6

    static func constant(_ value: UInt64) -> Value { Value(roots: [.number(value)]) }

    /// What is there for certain.
    private var only: Root? {
        guard roots.count == 1, bases == 0, translation.isEmpty, !isOther, roots[0].form == .address,
            roots[0].isExact
        else { return nil }
        return roots[0]
    }

    /// The number that is there for certain.
    var constant: UInt64? { only.flatMap { $0.origin == .number ? $0.offset : nil } }

    /// The bytes from the entry's stack pointer that it is away for certain.
    var stackOffset: UInt64? { only.flatMap { $0.origin == .stack ? $0.offset : nil } }

    var isPlain: Bool { roots.isEmpty && bases == 0 && translation.isEmpty }

    /// Numbers, and nothing that could be an address.
    var isPlainNumber: Bool {
        !roots.isEmpty && bases == 0 && translation.isEmpty && !isOther && roots.allSatisfy(\.isPlainNumber)
    }

    /// What may be there when two paths meet.
    func merged(_ other: Value) -> Value {
        if self == other { return self }
        return Value(
            roots: Self.union(roots, other.roots), bases: bases | other.bases,
            translation: translation.union(other.translation), isOther: isOther || other.isOther)
    }

    /// What may be there when another path meets this one; nil when it brings nothing new. With widening, where it begins
    /// is lost when it does.
    func grown(by other: Value, widening: Bool) -> Value? {
        if (isOther || !other.isOther) && bases | other.bases == bases && translation.isSuperset(of: other.translation)
            && Self.keepsUnion(roots, other.roots)
        {
            return nil
        }
        var merged = merged(other)
        if widening, merged != self {
            merged.roots = [.many]
            merged.isOther = true
        }
        return merged == self ? nil : merged
    }

    /// Plus a number.
    func adding(_ bytes: UInt64) -> Value {
        guard bytes != 0 else { return self }
        var sum = self
        sum.roots = roots.map { $0 + bytes }
        // For addresses that START_KERNEL_MAP was not taken off, half of the sum is made beforehand.
        if bases != 0, bytes != 1 << 31 {
            sum.bases = 0
            sum.isOther = true
        }
        return sum
    }

    /// What arithmetic makes of two values.
    static func made(from a: Value, _ b: Value = Value()) -> Value {
        let traced = (a.roots + b.roots).filter { !$0.isPlainNumber }.map { root in
            root.form == .physical || root.form == .page ? root : root.with(.made)
        }
        return Value(roots: union([], traced), isOther: true)
    }

    /// The low half, as a 32-bit operand is.
    var low: Value {
        // Of an address it is worth knowing which one.
        if let constant, constant < 1 << 63 || isPlainNumber { return .constant(constant & 0xffff_ffff) }
        if let range, range.end <= 0xffff_ffff { return self }
        var half = self
        half.roots = roots.map { $0.form == .address && !$0.isPlainNumber ? $0.with(.low) : $0 }
        return half
    }

    /// Whether `union` surely gives the first list as it is: told without making another one.
    private static func keepsUnion(_ a: [Root], _ b: [Root]) -> Bool {
        if b.isEmpty || a == b { return true }
        for root in b where !a.contains(where: { $0.covers(root) }) { return false }
        if a.count == 1 { return true }
        return a.count <= limit && !a.contains(.many) && isInOrder(a)
    }

    static func union(_ a: [Root], _ b: [Root]) -> [Root] {
        if b.isEmpty || a == b { return a }
        if a.isEmpty, b.count == 1 { return b }
        var all = a
        for root in b where !all.contains(where: { $0.covers(root) }) {
            var root = root
            // A range that grows has no end.
            if all.contains(where: { !$0.isExact && root.covers($0) }) { root.span = Root.unbounded }
            all.reserveCapacity(a.count + b.count)
            if all.contains(where: { root.covers($0) }) { all.removeAll { root.covers($0) } }
            all.append(root)
        }
        if all.count > limit {
            var wide: [Root] = []
            for root in all.sorted() {
                if let i = wide.indices.last(where: { wide[$0].widened(root) != nil }) {
                    wide[i] = wide[i].widened(root) ?? root
                } else {
                    wide.append(root)
                }
            }
            all = wide
        }
        if all.count > limit || all.contains(.many) { return [.many] }
        if !isInOrder(all) { all.sort() }
        return all
    }

    private static func isInOrder(_ roots: [Root]) -> Bool {
        for i in roots.indices.dropFirst() where roots[i] < roots[i - 1] { return false }
        return true
    }
}

/// Registers and stack slots at one place of a function.
struct MachineState: Equatable {
    var registers = [Value](repeating: .other, count: 16)
    var slots = StackSlots()
    /// What the last comparison was of, while both are as they were.
    var compared: Comparison?

    struct Comparison: Equatable {
        let first: Operand
        let second: Operand
    }

    /// What holds at the beginning of a function.
    static let entry: MachineState = {
        var state = MachineState()
        for (i, register) in GeneralRegister.arguments.enumerated() {
            state.registers[register.number] = Value(roots: [Root(origin: .argument(i), offset: 0)])
        }
        state.registers[GeneralRegister.rsp.number] = Value(roots: [Root(origin: .stack, offset: 0)])
        for i in 6..<10 {
            state.slots[UInt64(8 * (i - 5))] = Value(roots: [Root(origin: .argument(i), offset: 0)])
        }
        return state
    }()

    subscript(_ register: GeneralRegister) -> Value {
        get { registers[register.number] }
        set { registers[register.number] = newValue }
    }

    /// Takes in what another path brings; false when nothing is new.
    /// Whether a register or a slot may hold what a reference with this bit read.
    func mayHold(base bit: UInt64) -> Bool {
        registers.contains { $0.bases & bit != 0 } || slots.values.contains { $0.bases & bit != 0 }
    }

    mutating func merge(_ other: MachineState, widening: Bool) -> Bool {
        var isNew = false
        for i in 0..<16 {
            guard let grown = registers[i].grown(by: other.registers[i], widening: widening) else { continue }
            registers[i] = grown
            isNew = true
        }
        if slots.merge(other.slots, widening: widening) { isNew = true }
        return isNew
    }
}

/// What is in the stack, by bytes from the stack pointer at entry; what is not listed is other.
struct StackSlots: Equatable {
    /// Ascending.
    private(set) var places: [UInt64] = []
    private(set) var values: [Value] = []

    subscript(place: UInt64) -> Value? {
        get {
            let i = position(place)
            return i < places.count && places[i] == place ? values[i] : nil
        }
        set {
            let i = position(place)
            let isListed = i < places.count && places[i] == place
            switch (newValue, isListed) {
            case (let value?, true) where value != .other: values[i] = value
            case (let value?, false) where value != .other:
                places.insert(place, at: i)
                values.insert(value, at: i)
            case (_, true):
                places.remove(at: i)
                values.remove(at: i)
            case (_, false): break
            }
        }
    }

    private func position(_ place: UInt64) -> Int {
        var (low, high) = (0, places.count)
        while low < high {
            let middle = (low + high) / 2
            if places[middle] < place { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Takes in what another path brings; false when nothing is new.
    mutating func merge(_ other: StackSlots, widening: Bool) -> Bool {
        var isNew = false
        var (i, j) = (0, 0)
        while i < places.count || j < other.places.count {
            if j == other.places.count || i < places.count && places[i] < other.places[j] {
                if let grown = values[i].grown(by: .other, widening: false) {
                    values[i] = grown
                    isNew = true
                }
                i += 1
            } else if i == places.count || other.places[j] < places[i] {
                let brought = other.values[j].merged(.other)
                if brought != .other {
                    places.insert(other.places[j], at: i)
                    values.insert(brought, at: i)
                    i += 1
                    isNew = true
                }
                j += 1
            } else {
                if let grown = values[i].grown(by: other.values[j], widening: widening) {
                    values[i] = grown
                    isNew = true
                }
                (i, j) = (i + 1, j + 1)
            }
        }
        return isNew
    }
}
