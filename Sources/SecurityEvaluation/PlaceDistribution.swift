// SPDX-License-Identifier: MIT

// Where one page of a class may lie, and how likely, for somebody who knows the
// image and all that is pinned and glued, but not the seed. Without glued runs
// every granule of a class is equally likely to be in each of its slots. A glued
// run makes places at the ends of a stretch of slots rarer for the run and
// likelier for all others. With one run that is computed exactly; with several
// the likeliest place is bounded from above, so that no figure promises too much.

import PagePermutation

/// The chance of each place where a granule may be, as far as an attacker can know it.
public struct PlaceDistribution: Equatable, Sendable {
    /// The number of slots that may hold it; 1 for what stays.
    public let candidates: Int
    /// The chance of the likeliest slot; an upper bound of it where `isBound`.
    public let likeliest: Double
    /// How many slots the best attacker tries on average until one holds it, none of them twice; a lower bound where
    /// `isBound`.
    public let meanTries: Double
    /// Whether several glued runs share the class, so that the figures are bounds on the safe side.
    public let isBound: Bool

    /// Each of `count` slots is equally likely.
    public init(uniformOver count: Int) {
        candidates = max(count, 1)
        likeliest = 1 / Double(max(count, 1))
        meanTries = (Double(max(count, 1)) + 1) / 2
        isBound = false
    }

    /// Given chances of all slots, in any order.
    init(chances: [Double]) {
        let descending = chances.filter { $0 > 0 }.sorted(by: >)
        candidates = max(descending.count, 1)
        likeliest = descending.first ?? 1
        meanTries = descending.enumerated().reduce(0) { $0 + Double($1.offset + 1) * $1.element }
        isBound = false
    }

    /// No slot is likelier than `likeliest`. The fewest tries are needed where 1 / `likeliest` slots have that chance
    /// and all others none.
    init(candidates: Int, atMost likeliest: Double) {
        self.candidates = candidates
        self.likeliest = min(likeliest, 1)
        meanTries = (1 / self.likeliest + 1) / 2
        isBound = true
    }

    /// Bits of min-entropy: what the best first guess faces.
    public var minEntropy: Double { -likeliest.log2 }
    /// log2 of the number of candidates.
    public var bits: Double { Double(candidates).log2 }
}

/// The slots of a class and what is glued in it, in numbers of granules.
struct ClassSlots {
    let slots: [Int]
    /// In the order in which algorithm 1 places them: longest first.
    let runs: [Range<Int>]

    init(_ problem: PermutationProblem, class index: Int) {
        slots = problem.movableGranules(inClass: index)
        runs = problem.gluedRuns(inClass: index)
    }

    var gluedCount: Int { runs.reduce(0) { $0 + $1.count } }
    /// Granules that move on their own.
    var singles: Int { slots.count - gluedCount }

    /// The slots at which a run of so many granules can begin, as indices of `slots`.
    private func starts(_ length: Int) -> [Int] {
        slots.indices.filter {
            $0 + length <= slots.count && slots[$0 + length - 1] == slots[$0] + length - 1
        }
    }

    /// The least number of places that are left for the run at an index when those before it lie as badly as they can:
    /// each takes its own length, and the places of this one that overlap it.
    private func fewestPlaces(forRun index: Int) -> Int {
        let length = runs[index].count
        let lost = runs[..<index].reduce(0) { $0 + $1.count + length - 1 }
        return max(starts(length).count - lost, 1)
    }

    /// Where a granule that moves may lie.
    func distribution(of granule: Int) -> PlaceDistribution {
        if let run = runs.firstIndex(where: { $0.contains(granule) }) {
            if run == 0 { return PlaceDistribution(uniformOver: starts(runs[0].count).count) }
            return PlaceDistribution(
                candidates: starts(runs[run].count).count, atMost: 1 / Double(fewestPlaces(forRun: run)))
        }
        switch runs.count {
        case 0: return PlaceDistribution(uniformOver: slots.count)
        case 1: return PlaceDistribution(chances: chancesBesideOneRun)
        default: return PlaceDistribution(candidates: slots.count, atMost: 1 / Double(max(singles, 1)))
        }
    }

    /// The chance of each slot for a granule that moves on its own, beside a class's only run.
    private var chancesBesideOneRun: [Double] {
        let length = runs[0].count
        let starts = starts(length)
        var covering = [Int](repeating: 0, count: slots.count)
        for start in starts { for slot in start..<start + length { covering[slot] += 1 } }
        return covering.map { (1 - Double($0) / Double(starts.count)) / Double(singles) }
    }

    /// Bits of the order of everything in the class; a lower bound with several runs.
    var jointBits: (bits: Double, isBound: Bool) {
        let ordered = singles > 1 ? (2...singles).reduce(0) { $0 + Double($1).log2 } : 0
        guard let first = runs.first else { return (ordered, false) }
        var bits = ordered + Double(starts(first.count).count).log2
        for run in runs.indices.dropFirst() { bits += Double(fewestPlaces(forRun: run)).log2 }
        return (bits, runs.count > 1)
    }
}
