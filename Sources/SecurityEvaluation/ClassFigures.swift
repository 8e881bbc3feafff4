// SPDX-License-Identifier: MIT

// What a problem hides, class by class, and what each demand on it takes away.
// Counted are granules that can move: a class counted with its pins would promise
// more places than there are.

public import PagePermutation

/// What is hidden of the pages of one class.
public struct ClassFigures: Codable, Equatable, Sendable {
    public let name: String
    /// Pages of the class, those that stay included.
    public let pages: Int
    /// Pages that can move: none where there is only one place.
    public let movable: Int
    /// Slots that may hold one page: a granule each.
    public let candidates: Int
    /// Of the granules that lie there, those that are glued to another.
    public let glued: Int
    /// log2 of the candidates of one page.
    public let targetBits: Double
    /// Bits of the likeliest place of a page that is not glued.
    public let minEntropy: Double
    /// Bits of the order of the whole class, which is not what one attack faces.
    public let jointBits: Double
    /// Guesses for one page, on average, when none is tried twice.
    public let guessesSameOrder: Double
    /// And when every miss draws a new order.
    public let guessesFreshOrder: Double
    /// Whether glued runs make `minEntropy`, `jointBits` and the guesses lower bounds.
    public let isBound: Bool

    init(_ problem: PermutationProblem, class index: Int) {
        let slots = ClassSlots(problem, class: index)
        let single = slots.slots.first { granule in !slots.runs.contains { $0.contains(granule) } }
        let place =
            (single ?? slots.slots.first).map { slots.distribution(of: $0) } ?? PlaceDistribution(uniformOver: 1)
        let joint = slots.jointBits
        name = problem.classes[index].name
        pages = problem.classes[index].pageCount
        movable = slots.slots.count > 1 ? problem.movablePages(inClass: index) : 0
        candidates = place.candidates
        glued = slots.gluedCount
        targetBits = place.bits.rounded6
        minEntropy = place.minEntropy.rounded6
        jointBits = joint.bits.rounded6
        guessesSameOrder = place.expectedGuesses(.sameOrder).rounded6
        guessesFreshOrder = place.expectedGuesses(.freshOrder).rounded6
        isBound = place.isBound || joint.isBound
    }
}

/// What one demand leaves of the bits of a page's place, in the order in which demands are added.
public struct DemandFigures: Codable, Equatable, Sendable {
    public let demand: String
    /// For each class the bits of one page's place with this demand and those before it.
    public let targetBits: [String: Double]
    /// Bits of the order of everything.
    public let jointBits: Double
}

extension PermutationProblem {
    /// What is hidden of each class.
    public var figures: [ClassFigures] { classes.indices.map { ClassFigures(self, class: $0) } }

    /// Where one page may lie, with the name of its class; one place and no class for what stays.
    public func place(of page: Int) -> (name: String?, distribution: PlaceDistribution) {
        let own = pageClass(of: page)
        guard let moving = movingClass(of: page) else {
            return (own.map { classes[$0].name }, PlaceDistribution(uniformOver: 1))
        }
        return (classes[moving].name, ClassSlots(self, class: moving).distribution(of: page / granule.pages))
    }

    /// What closing the classes, the granule, the pins and the glue cost, one after the other.
    ///
    /// - Throws: `ProblemError` never for a problem that could be made.
    public func demands() throws(ProblemError) -> [DemandFigures] {
        let all = PageClass(name: "all", ranges: classes.flatMap(\.ranges).sorted { $0.lowerBound < $1.lowerBound })
        let steps: [(String, PermutationProblem)] = [
            ("every page anywhere in the image", try PermutationProblem(pageCount: pageCount, classes: [all])),
            ("pages stay in their class", try PermutationProblem(pageCount: pageCount, classes: classes)),
            (
                "granule \(granule.rawValue)",
                try PermutationProblem(pageCount: pageCount, classes: classes, granule: granule)
            ),
            (
                "pins", try PermutationProblem(pageCount: pageCount, classes: classes, pins: pins, granule: granule)
            ),
            ("glue", self),
        ]
        return steps.map { demand, problem in
            let figures = problem.figures
            // The one class of the first step stands for each of them.
            let bits = zip(classes.indices, classes).map { index, pageClass in
                (pageClass.name, figures[figures.count == classes.count ? index : 0].targetBits)
            }
            return DemandFigures(
                demand: demand, targetBits: Dictionary(bits) { first, _ in first },
                jointBits: figures.reduce(0) { $0 + $1.jointBits }.rounded6)
        }
    }
}
