// SPDX-License-Identifier: MIT

// The exact figures, checked by attacks that are played: on orders that the tool
// really draws where a permutation is asked about, and by guess after guess where
// every miss draws a new one. Agreement within a tenth of a bit is asked for.

public import PagePermutation
public import SecureRandom

/// A figure and what playing it gave.
public struct PlayedFigure: Codable, Equatable, Sendable {
    public let figure: String
    public let computed: Double
    public let played: Double
    /// Between the two.
    public let differenceInBits: Double

    init(_ figure: String, computed: Double, played: Double) {
        self.figure = figure
        self.computed = computed.rounded6
        self.played = played.rounded6
        differenceInBits = (played > 0 && computed > 0 ? abs((played / computed).log2) : .infinity).rounded6
    }

    /// The difference that is allowed, in bits.
    public static let tolerance = 0.1
    public var agrees: Bool { differenceInBits <= Self.tolerance }
}

/// How long is played.
public struct PlayLength: Sendable {
    /// Orders drawn of the whole problem.
    public let draws: Int
    /// Guesses at a page whose order is drawn anew after every miss, for each class.
    public let guesses: Int

    public init(draws: Int, guesses: Int) {
        self.draws = draws
        self.guesses = guesses
    }
}

extension PermutationProblem {
    /// Plays the attacks on every class in which something moves.
    ///
    /// - Parameters:
    ///   - figures: what was computed.
    ///   - seed: what the orders and the guesses are drawn from.
    /// - Throws: `SeedError.outOfMemory` when libsodium has no locked memory left.
    public func play(
        _ figures: [ClassFigures], _ length: PlayLength, seed: borrowing Seed
    ) throws(SeedError) -> [PlayedFigure] {
        let classes = self.classes.indices.map { ClassSlots(self, class: $0) }
        var tallies = classes.map { OrderTally($0, granule: granule.pages) }
        var choice = try RandomStream(seed: seed, domain: "kperm/evaluate/choice")
        for number in 0..<length.draws {
            let order = try Permutation.draw(self, seed: Seed.derived(from: seed, number: number))
            for index in tallies.indices { tallies[index].add(order.forward, &choice) }
        }
        var played: [PlayedFigure] = []
        for (index, tally) in tallies.enumerated() where tally.granules > 1 && !figures[index].isBound {
            let name = figures[index].name
            played.append(
                PlayedFigure(
                    "\(name): chance of one guess, as its reciprocal", computed: Double(figures[index].candidates),
                    played: tally.reciprocalOfHit))
            played.append(
                PlayedFigure(
                    "\(name): guesses, \(AfterMiss.sameOrder.rawValue)", computed: figures[index].guessesSameOrder,
                    played: tally.meanTries))
            var guesses = try RandomStream(seed: seed, domain: "kperm/evaluate/guess/\(name)")
            played.append(
                PlayedFigure(
                    "\(name): guesses, \(AfterMiss.freshOrder.rawValue)",
                    computed: figures[index].guessesFreshOrder,
                    played: Self.guessesUntilHit(tally.granules, length.guesses, &guesses)))
        }
        return played
    }

    /// Guesses one slot of `count` again and again, each time in a fresh order; the mean number of guesses until a hit.
    private static func guessesUntilHit(_ count: Int, _ guesses: Int, _ stream: inout RandomStream) -> Double {
        let bound = UInt32(count)
        var hits = 0
        for _ in 0..<guesses where stream.uniform(below: bound) == 0 { hits += 1 }
        return hits == 0 ? .infinity : Double(guesses) / Double(hits)
    }
}

/// What a class's orders gave to somebody who guesses.
private struct OrderTally {
    let granules: Int
    private let slots: [Int]
    /// The index in the class of each slot, by its number.
    private let rank: [Int]
    private let size: Int
    private var guesses = 0
    private var hits = 0
    private var tries = 0
    private var targets = 0

    private static let shifts = 32
    private static let targetsEach = 32

    init(_ parts: ClassSlots, granule size: Int) {
        slots = parts.slots
        granules = slots.count
        self.size = size
        var rank = [Int](repeating: 0, count: (slots.last ?? -1) + 1)
        for (index, slot) in slots.enumerated() { rank[slot] = index }
        self.rank = rank
    }

    mutating func add(_ forward: [UInt32], _ choice: inout RandomStream) {
        guard granules > 1 else { return }
        let places = slots.map { rank[Int(forward[$0 * size]) / size] }
        for _ in 0..<Self.shifts {
            // One guess for every page: the slot so many further on.
            let shift = Int(choice.uniform(below: UInt32(granules)))
            for (page, place) in places.enumerated() {
                let guess = page + shift
                if place == (guess < granules ? guess : guess - granules) { hits += 1 }
            }
            guesses += granules
        }
        for _ in 0..<Self.targetsEach {
            // Slots are tried in ascending order from a random one on.
            let target = places[Int(choice.uniform(below: UInt32(granules)))]
            let start = Int(choice.uniform(below: UInt32(granules)))
            tries += (target - start + granules) % granules + 1
            targets += 1
        }
    }

    var reciprocalOfHit: Double { hits == 0 ? .infinity : Double(guesses) / Double(hits) }
    var meanTries: Double { targets == 0 ? .infinity : Double(tries) / Double(targets) }
}
