// SPDX-License-Identifier: MIT

// What guessing costs somebody who looks for one page. Two ways of going on after
// a wrong guess: the kernel lives on, so no frame is tried twice; or it crashes. A
// crash draws a permutation of every boot anew, which makes every guess the first
// one; a baked permutation stays what it was, so a crash teaches.

/// What a wrong guess leads to.
public enum AfterMiss: String, CaseIterable, Codable, Sendable {
    /// The same order is there for the next guess: nothing crashed, or the order is baked.
    case sameOrder = "same order"
    /// The kernel is started again with another order.
    case freshOrder = "fresh order"
}

extension PlaceDistribution {
    /// Guesses until the first hit, on average.
    public func expectedGuesses(_ after: AfterMiss) -> Double {
        switch after {
        case .sameOrder: meanTries
        case .freshOrder: 1 / likeliest
        }
    }

    /// The chance that one of `guesses` guesses hits; an upper bound where `isBound`, or where places differ in chance.
    public func success(within guesses: Int, _ after: AfterMiss) -> Double {
        after.success(of: likeliest, within: guesses)
    }
}

extension ClassFigures {
    /// The chance that one of `guesses` guesses hits one page of the class, with the same provisos.
    public func success(within guesses: Int, _ after: AfterMiss) -> Double {
        after.success(of: (-minEntropy).powerOfTwo, within: guesses)
    }
}

extension AfterMiss {
    fileprivate func success(of likeliest: Double, within guesses: Int) -> Double {
        switch self {
        case .sameOrder: min(Double(guesses) * likeliest, 1)
        case .freshOrder: 1 - Self.power(1 - likeliest, guesses)
        }
    }

    private static func power(_ base: Double, _ exponent: Int) -> Double {
        var (result, square, left) = (1.0, base, exponent)
        while left > 0 {
            if left & 1 == 1 { result *= square }
            square *= square
            left >>= 1
        }
        return result
    }
}

/// What is left to find out about one page of a class of `candidates` once the places of some pages are known.
public struct LeakFigures: Codable, Equatable, Sendable {
    /// Pages of the class whose frames are known.
    public let leaked: Int
    /// The chance that the page looked for is among them, if they leaked at random. Whoever chooses what leaks takes
    /// that one, and needs no second.
    public let targetLeaked: Double
    /// Bits of the place of a page that is not among them.
    public let bitsOfOthers: Double
    /// Bits of a page's place, averaged over random leaks: none for those that leaked.
    public let averageBits: Double
    /// Bits of the order of all that did not leak.
    public let jointBits: Double
    /// Whether glued pages make the bits lower bounds: they are counted as if all that is glued had leaked, too.
    public let isBound: Bool

    /// - Parameters:
    ///   - figures: of the class.
    ///   - leaked: at most its candidates.
    public init(_ figures: ClassFigures, leaked: Int) {
        self.init(candidates: figures.candidates, glued: figures.glued, leaked: leaked)
    }

    /// - Parameters:
    ///   - candidates: the slots of the class.
    ///   - glued: so many of what lies in them is glued.
    ///   - leaked: at most `candidates`.
    init(candidates: Int, glued: Int = 0, leaked: Int) {
        let left = max(candidates - glued - leaked, 0)
        isBound = glued > 0
        self.leaked = leaked
        targetLeaked = (Double(leaked) / Double(candidates)).rounded6
        bitsOfOthers = (left > 1 ? Double(left).log2 : 0).rounded6
        averageBits = (left > 1 ? Double(left) / Double(candidates) * Double(left).log2 : 0).rounded6
        jointBits = (left > 1 ? (2...left).reduce(0) { $0 + Double($1).log2 } : 0).rounded6
    }
}
