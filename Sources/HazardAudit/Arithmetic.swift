// SPDX-License-Identifier: MIT

// Arithmetic on values that are known in part. Two things make it more than
// adding numbers: an address with something unknown added is still an address
// near the same object, and an address with the kernel's offset added is the
// physical address of that object.

extension Value {
    /// `__START_KERNEL_map` of x86-64.
    private static let kernelMap: UInt64 = 0xffff_ffff_8000_0000

    func plus(_ other: Value) -> Value {
        if let number = other.constant, constant != nil || Root.number(number).isPlainNumber || number == 1 << 31 {
            return adding(number)
        }
        if let number = constant, Root.number(number).isPlainNumber || number == 1 << 31 { return other.adding(number) }
        if !translation.isEmpty || !other.translation.isEmpty { return translated(other) }
        if hasProduct || other.hasProduct { return counted.plus(other.counted) }
        if other.isPlainNumber { return moved(by: other) }
        if isPlainNumber { return other.moved(by: self) }
        // One of them points somewhere and the other one counts: an object is surely not what counts.
        let (mine, others) = (pointers, other.pointers)
        let (isMine, isOthers) = (mine.contains(where: \.isCertain), others.contains(where: \.isCertain))
        if !mine.isEmpty, others.isEmpty || (isMine && !isOthers) {
            return Value(roots: Self.union([], mine.map(\.anywhere)), isOther: isOther)
        }
        if !others.isEmpty, mine.isEmpty || (isOthers && !isMine) {
            return Value(roots: Self.union([], others.map(\.anywhere)), isOther: other.isOther)
        }
        return Value.made(from: self, other)
    }

    func minus(_ other: Value) -> Value {
        if let number = other.constant, constant != nil || Root.number(number).isPlainNumber || number == 1 << 31 {
            return plus(.constant(0 &- number))
        }
        if other.translation == .linear {
            return constant == Self.kernelMap
                ? Value(translation: .physical) : translated(Value(translation: .physical))
        }
        if !other.translation.isEmpty { return Value.made(from: self) }
        if constant == 4096, !other.isOther, !other.roots.isEmpty, other.roots.allSatisfy({ $0.form == .inPage }) {
            return Value(roots: other.roots.map { $0.with(.restOfPage) })
        }
        return Value.made(from: self, other)
    }

    func and(_ other: Value) -> Value {
        guard let mask = other.constant else {
            return constant == nil ? Value.made(from: self, other) : other.and(self)
        }
        if let constant { return .constant(constant & mask) }
        if let offset = stackOffset, mask > UInt64.max - 1 << 12 {
            // The stack pointer rounded down: no slot above is meant any more.
            return Value(roots: [Root(origin: .stack, offset: offset & mask)])
        }
        guard mask < 1 << 20 else { return Value.made(from: self) }
        let traced = roots.filter { !$0.isPlainNumber }
        if mask == 0xfff, !traced.isEmpty, traced.count == roots.count {
            return Value(
                roots: Self.union(
                    [], traced.map { $0.with($0.form == .address || $0.form == .low ? .inPage : .made) }),
                isOther: isOther)
        }
        return Value(roots: [.upTo(mask, step: mask & (~mask &+ 1))])
    }

    /// A sum where no bit is in both; else no more than all bits up to the highest that is in either.
    func or(_ other: Value) -> Value {
        if let constant, let second = other.constant { return .constant(constant | second) }
        guard let mine = range, let others = other.range else { return Value.made(from: self, other) }
        let (low, high) = mine.end < others.end ? (mine, others) : (others, mine)
        if low.end >> UInt64((high.offset | high.step).trailingZeroBitCount) == 0 { return Value(roots: [high + low]) }
        return Value(roots: [.upTo(UInt64.max >> UInt64(high.end.leadingZeroBitCount))])
    }

    /// What is left without some low bits, where that is known.
    func shifted(by bits: UInt64) -> Value? {
        if let constant { return .constant(constant >> bits) }
        guard let range else {
            let isSmall = isPlainNumber && roots.allSatisfy { $0.last.map { $0 >> bits == 0 } ?? false }
            return isSmall ? .constant(0) : nil
        }
        let (first, end) = (range.offset >> bits, range.end >> bits)
        return first == end ? .constant(first) : Value(roots: [Root(offset: first, step: 1, span: end - first)])
    }

    /// Whether a bit is set; nil when it may be or not.
    func has(_ bit: UInt64) -> Bool? {
        guard !isOther, bases == 0, translation.isEmpty, let first = roots.first else { return nil }
        let answer = first.has(bit)
        return roots.allSatisfy { $0.has(bit) == answer } ? answer : nil
    }

    /// The numbers that may be there and nothing else, from the first to the last.
    var range: Root? {
        guard !isOther, roots.count == 1, bases == 0, translation.isEmpty, roots[0].isBounded else { return nil }
        return roots[0]
    }

    func multiplied(by factor: UInt64) -> Value {
        if factor == 1 { return self }
        if let constant { return .constant(constant &* factor) }
        if roots.contains(where: { $0.form == .physical || $0.form == .page }) { return Value.made(from: self) }
        if !isOther, roots.count == 1, case .argument = roots[0].origin, roots[0].isExact, factor < 1 << 16,
            roots[0].factor < 1 << 16, roots[0].form == .address || roots[0].form == .low
        {
            var product = roots[0]
            product.factor *= factor
            product.offset &*= factor
            return factor == 0 ? .constant(0) : Value(roots: [product])
        }
        if isPlainNumber, roots.count == 1, factor < 1 << 20, roots[0].last != nil {
            var root = roots[0]
            root.step *= factor
            root.span *= factor
            root.offset *= factor
            return Value(roots: [root])
        }
        return factor == 0 ? .constant(0) : Value(roots: [Root(offset: 0, step: factor, span: Root.unbounded)])
    }

    /// With no more bits than a mask.
    func upTo(_ mask: UInt64) -> Value {
        if let constant { return .constant(constant & mask) }
        if !roots.isEmpty, !isOther,
            roots.allSatisfy({ $0.form == .restOfPage || ($0.last.map { $0 <= mask } ?? false) })
        {
            return self
        }
        // Callers say what it is.
        if !isOther, roots.count == 1, case .argument = roots[0].origin { return low }
        // What is at least so much is so, still, if it fits.
        if isPlainNumber, roots.count == 1, roots[0].offset <= mask, roots[0].offset > 0, roots[0].last != nil {
            return Value(roots: [Root(offset: roots[0].offset, step: 1, span: mask - roots[0].offset)])
        }
        return Value(roots: [.upTo(mask)])
    }

    func smaller(_ other: Value) -> Value {
        if let constant, let second = other.constant { return .constant(min(constant, second)) }
        guard isCounting, other.isCounting else { return merged(other) }
        for (one, two) in [(self, other), (other, self)] {
            if !one.isOther, !one.roots.isEmpty, one.roots.allSatisfy({ $0.form == .restOfPage }) { return one }
            if one.isPlainNumber, two.constant == nil, let last = one.roots.compactMap(\.last).max(),
                one.roots.allSatisfy({ $0.last != nil })
            {
                return Value(roots: [.upTo(last)])
            }
        }
        return merged(other)
    }

    func larger(_ other: Value) -> Value {
        if let constant, let second = other.constant { return .constant(max(constant, second)) }
        guard isCounting, other.isCounting else { return merged(other) }
        for (one, two) in [(self, other), (other, self)] {
            if let least = one.constant, two.constant == nil, Root.number(least).last != nil {
                return Value(roots: [Root(offset: least, step: 1, span: 1 << 40)])
            }
        }
        return merged(other)
    }

    /// Whether it may be compared as a number: no offset that translates.
    private var isCounting: Bool { bases == 0 && translation.isEmpty }

    private var hasProduct: Bool { roots.contains { $0.factor != 1 } }

    private var counted: Value {
        var value = self
        value.roots = Self.union([], roots.map(\.counted))
        return value
    }

    /// Roots that lead somewhere in memory: those of objects and of the stack if there are any.
    private var pointers: [Root] {
        let traced = roots.filter { !$0.isPlainNumber && $0.form == .address }
        let certain = traced.filter(\.isCertain)
        return certain.isEmpty ? traced : certain
    }

    private func moved(by numbers: Value) -> Value {
        var sums: [Root] = []
        for root in roots { sums += numbers.roots.map { root + $0 } }
        return Value(roots: Self.union([], sums), isOther: isOther || bases != 0 || sums.isEmpty)
    }

    private func translated(_ other: Value) -> Value {
        let how = translation.union(other.translation)
        // The offset of the linear map leads from a physical address to a virtual one.
        guard !how.contains(.linear), how != [.physical, .page] else { return .other }
        let translated = (roots + other.roots).compactMap { $0.translated(how) }
        return Value(roots: Self.union([], translated), isOther: translated.isEmpty || isOther || other.isOther)
    }
}

extension Root {
    /// The largest number of a range.
    var end: UInt64 { offset + span }

    /// Numbers from the first to the last.
    fileprivate var isBounded: Bool { origin == .number && form == .address && offset < 1 << 40 && span < 1 << 40 }

    fileprivate func has(_ bit: UInt64) -> Bool? {
        if origin == .number, form == .address, isExact { return offset & bit != 0 }
        guard isBounded else { return nil }
        if end / bit == 0 { return false }
        return offset / bit == end / bit ? offset & bit != 0 : nil
    }

    /// Whether it leads to an object or to the stack, and is no number that a caller may have passed.
    fileprivate var isCertain: Bool { origin == .number || origin == .stack }
}
