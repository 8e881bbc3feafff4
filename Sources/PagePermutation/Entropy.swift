// SPDX-License-Identifier: MIT

// What a problem leaves to chance, and what a constraint takes away. Somebody
// who looks for one page of a class guesses among the granules that move:
// log2 N bits. The order of all of them has log2 N! bits, which is not what one
// attack faces. Glued pages are one thing to put in order; that they fit in
// fewer places where the movable pages lie in pieces is left out.

import Glibc

/// What one class leaves to chance, or loses, in bits.
public struct ClassEntropy: Equatable, Sendable, Codable {
    public let name: String
    /// Of the place of one page.
    public let target: Double
    /// Of the order of all pages.
    public let joint: Double

    /// To a millionth of a bit: what is printed is the same on processors whose logarithms differ in the last place.
    public var rounded: ClassEntropy {
        func round(_ bits: Double) -> Double { (bits * 1e6).rounded() / 1e6 }
        return ClassEntropy(name: name, target: round(target), joint: round(joint))
    }
}

extension PermutationProblem {
    /// What each class leaves to chance.
    public var entropy: [ClassEntropy] {
        zip(classes, movable).map { pageClass, movable in
            ClassEntropy(
                name: pageClass.name, target: movable.slots.isEmpty ? 0 : log2(Double(movable.slots.count)),
                joint: Self.bits(of: 1, through: movable.units))
        }
    }

    /// What this problem leaves less than another of the same classes and granule does; only the classes that differ.
    public func entropyLost(since other: PermutationProblem) -> [ClassEntropy] {
        zip(classes, zip(other.movable, movable)).compactMap { pageClass, both in
            let (before, after) = both
            guard before.slots != after.slots || before.runs != after.runs else { return nil }
            let slots = (Double(max(before.slots.count, 1)), Double(max(after.slots.count, 1)))
            return ClassEntropy(
                name: pageClass.name, target: log2(slots.0 / slots.1),
                joint: after.units <= before.units
                    ? Self.bits(of: after.units + 1, through: before.units)
                    : -Self.bits(of: before.units + 1, through: after.units))
        }
    }

    /// What one more pin takes away: as much as `with(pins:)` shows, in less time.
    public func entropyLost(adding pin: Pin) -> [ClassEntropy] {
        let granules = pin.pages.lowerBound / granule.pages..<(pin.pages.upperBound + granule.pages - 1) / granule.pages
        return zip(classes, movable).compactMap { pageClass, movable in
            // A run that is touched stays as a whole.
            let runs = movable.runs.filter { $0.overlaps(granules) }
            let taken =
                movable.slots(in: granules) + runs.reduce(0) { $0 + $1.count - $1.clamped(to: granules).count }
            guard taken > 0 else { return nil }
            let units = movable.units - (taken - runs.reduce(0) { $0 + $1.count } + runs.count)
            let left = Double(max(movable.slots.count - taken, 1))
            return ClassEntropy(
                name: pageClass.name, target: log2(Double(movable.slots.count) / left),
                joint: Self.bits(of: units + 1, through: movable.units))
        }
    }

    /// The same classes and granule without any constraint.
    public func withoutConstraints() throws(ProblemError) -> PermutationProblem {
        try PermutationProblem(pageCount: pageCount, classes: classes, granule: granule)
    }

    /// This problem with more constraints.
    public func with(pins more: [Pin], glue moreGlue: [Glue] = []) throws(ProblemError) -> PermutationProblem {
        try PermutationProblem(
            pageCount: pageCount, classes: classes, pins: pins + more, glue: glue + moreGlue, granule: granule)
    }

    /// log2 of the product of the numbers from one to another.
    private static func bits(of first: Int, through last: Int) -> Double {
        first <= last ? (first...last).reduce(0) { $0 + log2(Double($1)) } : 0
    }
}

extension PermutationProblem.Movable {
    fileprivate func slots(in granules: Range<Int>) -> Int {
        first(from: granules.upperBound) - first(from: granules.lowerBound)
    }

    /// The number of the first slot from a granule on.
    private func first(from granule: Int) -> Int {
        var low = 0
        var high = slots.count
        while low < high {
            let middle = (low + high) / 2
            if slots[middle] < granule { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// What is put in order: glued runs, and granules on their own.
    fileprivate var units: Int { slots.count - runs.reduce(0) { $0 + $1.count } + runs.count }
}
