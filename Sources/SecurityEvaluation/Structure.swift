// SPDX-License-Identifier: MIT

// What an order shows of itself: pages that kept their frames, neighbours that
// stayed neighbours, the longest stretch that moved as one. A random order has
// some of each; beside each number stands how many are to be expected.
//
// For n granules in n slots, each order equally likely: one fixed point; and a
// stretch of m granules, of which there are w, lies in one of the w stretches of m
// slots with the chance w (n - m)! / n!. Glued runs are left out on both sides.

public import PagePermutation

/// What remains of the linear order in one class.
public struct ClassStructure: Codable, Equatable, Sendable {
    public let name: String
    /// Granules that move and are not glued.
    public let granules: Int
    public let fixedPoints: Int
    public let expectedFixedPoints: Double
    /// Granules behind which the next one still follows.
    public let keptNeighbours: Int
    public let expectedKeptNeighbours: Double
    /// Granules in the longest stretch that moved as one; 1 where no neighbours were kept.
    public let longestRun: Int
    /// How many stretches of that length a random order keeps, on average.
    public let expectedRunsOfThatLength: Double

    init(_ problem: PermutationProblem, class index: Int, forward: [UInt32]) {
        let parts = ClassSlots(problem, class: index)
        let glued = Set(parts.runs.joined())
        let size = problem.granule.pages
        let slots = parts.slots.filter { !glued.contains($0) }
        func place(_ granule: Int) -> Int { Int(forward[granule * size]) / size }
        name = problem.classes[index].name
        granules = slots.count
        fixedPoints = slots.count { place($0) == $0 }
        var (kept, run, longest) = (0, 1, slots.isEmpty ? 0 : 1)
        for (granule, next) in zip(slots, slots.dropFirst()) {
            let follows = next == granule + 1 && place(next) == place(granule) + 1
            if follows { kept += 1 }
            run = follows ? run + 1 : 1
            longest = max(longest, run)
        }
        keptNeighbours = kept
        longestRun = longest
        // Beside runs the slots of the others are not fixed; the expectation holds where there are none.
        expectedFixedPoints = slots.isEmpty ? 0 : 1
        expectedKeptNeighbours = Self.expected(2, slots).rounded6
        expectedRunsOfThatLength = longest > 1 ? Self.expected(longest, slots) : Double(slots.count)
    }

    /// How many stretches of `length` slots hold a stretch of granules in its order, on average.
    static func expected(_ length: Int, _ slots: [Int]) -> Double {
        guard length <= slots.count, length > 0 else { return 0 }
        let windows = Double(
            slots.indices.count {
                $0 + length <= slots.count && slots[$0 + length - 1] == slots[$0] + length - 1
            })
        // One factor at a time: n! does not fit.
        return (0..<length).reduce(windows * windows) { $0 / Double(slots.count - $1) }
    }
}

extension PermutationProblem {
    /// What an order keeps of the linear one, class by class.
    ///
    /// - Parameter forward: the frame of each page, of as many pages as the problem has.
    public func structure(of forward: [UInt32]) -> [ClassStructure] {
        classes.indices.map { ClassStructure(self, class: $0, forward: forward) }
    }
}
