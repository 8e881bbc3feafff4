// SPDX-License-Identifier: MIT

// What a permutation must respect, as a value: which pages may trade places
// with which, which must stay, which must keep their neighbours, and how many
// move together. A problem is checked when it is made, so that drawing can
// never fail half way.

/// A set of pages that may trade places. Kernels free, protect and reserve memory by such sets,
/// so a permutation that maps each onto itself needs no change in them.
public struct PageClass: Equatable, Sendable {
    public let name: String
    /// Page numbers, ascending, without overlap.
    public let ranges: [Range<Int>]

    public init(name: String, ranges: [Range<Int>]) {
        self.name = name
        self.ranges = ranges
    }

    public var pageCount: Int { ranges.reduce(0) { $0 + $1.count } }

    /// The domain of the random stream that this class is drawn from.
    public var domain: String { "kperm/\(Permutation.algorithm)/\(name)" }
}

/// Pages whose frame stays, with the reason.
public struct Pin: Hashable, Sendable {
    public let pages: Range<Int>
    /// Why the pages must stay.
    public let reason: String
    /// What shows it: a symbol, a relocation, an instruction.
    public let evidence: String

    public init(pages: Range<Int>, reason: String, evidence: String) {
        self.pages = pages
        self.reason = reason
        self.evidence = evidence
    }
}

/// Pages that keep their neighbours: they move as one run.
public struct Glue: Hashable, Sendable {
    public let pages: Range<Int>
    public let reason: String

    public init(pages: Range<Int>, reason: String) {
        self.pages = pages
        self.reason = reason
    }
}

/// How many pages move together.
public enum Granule: String, CaseIterable, Sendable {
    case page4K = "4K"
    case page16K = "16K"
    case page64K = "64K"
    case page2M = "2M"

    public var pages: Int {
        switch self {
        case .page4K: 1
        case .page16K: 4
        case .page64K: 16
        case .page2M: 512
        }
    }
}

/// What cannot be asked of a permutation.
public enum ProblemError: Error, Equatable, Sendable {
    case classOutside(name: String, pages: Range<Int>, pageCount: Int)
    case classesOverlap(first: String, second: String, page: Int)
    case pinOutside(pages: Range<Int>, pageCount: Int)
    case glueLeavesClass(pages: Range<Int>, page: Int)
}

extension ProblemError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .classOutside(let name, let pages, let count):
            "class \(name): pages \(pages) lie outside the image's \(count) pages"
        case .classesOverlap(let first, let second, let page): "page \(page) is in class \(first) and in \(second)"
        case .pinOutside(let pages, let count): "pin of pages \(pages): the image has \(count) pages"
        case .glueLeavesClass(let pages, let page):
            "glue of pages \(pages) does not fit into one page class: page \(page) is outside it"
        }
    }
}

/// A well-formed question: every permutation of `pageCount` pages that is class-closed, leaves the
/// pins, keeps the glue and moves whole granules is an answer.
public struct PermutationProblem: Sendable {
    public let pageCount: Int
    public let classes: [PageClass]
    public let pins: [Pin]
    public let glue: [Glue]
    public let granule: Granule
    /// For each class the granules that move, ascending, as numbers of granules; glued runs among them.
    let movable: [Movable]

    struct Movable: Sendable {
        var slots: [Int] = []
        /// Runs of slots that stay together, longest first.
        var runs: [Range<Int>] = []
    }

    public init(
        pageCount: Int, classes: [PageClass], pins: [Pin] = [], glue: [Glue] = [], granule: Granule = .page4K
    ) throws(ProblemError) {
        self.pageCount = pageCount
        self.classes = classes
        self.pins = pins
        self.glue = glue
        self.granule = granule

        var classOf = [Int](repeating: -1, count: pageCount)
        for (index, pageClass) in classes.enumerated() {
            for range in pageClass.ranges {
                guard range.lowerBound >= 0, range.upperBound <= pageCount else {
                    throw .classOutside(name: pageClass.name, pages: range, pageCount: pageCount)
                }
                for page in range {
                    guard classOf[page] < 0 else {
                        throw .classesOverlap(first: classes[classOf[page]].name, second: pageClass.name, page: page)
                    }
                    classOf[page] = index
                }
            }
        }

        var stays = classOf.map { $0 < 0 }
        for pin in pins {
            guard pin.pages.lowerBound >= 0, pin.pages.upperBound <= pageCount else {
                throw .pinOutside(pages: pin.pages, pageCount: pageCount)
            }
            for page in pin.pages { stays[page] = true }
        }
        for run in glue {
            guard run.pages.lowerBound >= 0, run.pages.upperBound <= pageCount, let first = run.pages.first,
                classOf[first] >= 0
            else { throw .glueLeavesClass(pages: run.pages, page: run.pages.lowerBound) }
            for page in run.pages where classOf[page] != classOf[first] {
                throw .glueLeavesClass(pages: run.pages, page: page)
            }
        }
        movable = Self.movableGranules(
            classCount: classes.count, classOf: classOf, stays: stays, glue: glue, size: granule.pages)
    }

    /// A granule moves when all its pages are in one class and none is pinned; a glued run moves when all its
    /// granules do, and otherwise stays as a whole.
    private static func movableGranules(
        classCount: Int, classOf: [Int], stays: [Bool], glue: [Glue], size: Int
    ) -> [Movable] {
        var owner = (0..<classOf.count / size).map { granule in
            let pages = granule * size..<(granule + 1) * size
            let first = classOf[pages.lowerBound]
            return pages.allSatisfy { classOf[$0] == first && !stays[$0] } ? first : -1
        }
        let runs = merged(glue.map { $0.pages.lowerBound / size..<($0.pages.upperBound + size - 1) / size })
        var kept: [Range<Int>] = []
        for run in runs {
            let inside = run.clamped(to: 0..<owner.count)
            if inside == run, run.allSatisfy({ owner[$0] >= 0 && owner[$0] == owner[run.lowerBound] }) {
                kept.append(run)
            } else {
                for granule in inside { owner[granule] = -1 }
            }
        }
        var result = [Movable](repeating: Movable(), count: classCount)
        for (granule, owner) in owner.enumerated() where owner >= 0 { result[owner].slots.append(granule) }
        for run in kept where run.count > 1 { result[owner[run.lowerBound]].runs.append(run) }
        for i in result.indices {
            result[i].runs.sort { ($1.count, $0.lowerBound) < ($0.count, $1.lowerBound) }
        }
        return result
    }

    /// Overlapping runs become one; runs that only touch stay apart.
    private static func merged(_ runs: [Range<Int>]) -> [Range<Int>] {
        var out: [Range<Int>] = []
        for run in runs.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = out.last, run.lowerBound < last.upperBound {
                out[out.count - 1] = last.lowerBound..<max(last.upperBound, run.upperBound)
            } else {
                out.append(run)
            }
        }
        return out
    }

    /// What drawing algorithm 1 takes of a class, in numbers of granules.
    public struct Drawing: Sendable {
        public let domain: String
        /// The granules that move, ascending, those of glued runs among them.
        public let granules: [Range<Int>]
        /// Glued runs in the order they are placed.
        public let runs: [Range<Int>]
    }

    /// The classes in which something moves, for those who draw elsewhere: a boot stub.
    public var drawings: [Drawing] {
        zip(classes, movable).filter { $1.slots.count > 1 }.map { pageClass, movable in
            var granules: [Range<Int>] = []
            for slot in movable.slots {
                if let last = granules.last, last.upperBound == slot {
                    granules[granules.count - 1] = last.lowerBound..<slot + 1
                } else {
                    granules.append(slot..<slot + 1)
                }
            }
            return Drawing(domain: pageClass.domain, granules: granules, runs: movable.runs)
        }
    }

    /// The granules of a class that move, ascending, those of glued runs among them.
    public func movableGranules(inClass index: Int) -> [Int] { movable[index].slots }

    /// The glued runs of a class that move, in numbers of granules, in the order in which they are placed.
    public func gluedRuns(inClass index: Int) -> [Range<Int>] { movable[index].runs }

    /// Pages of a class that a drawn permutation can move.
    public func movablePages(inClass index: Int) -> Int { movable[index].slots.count * granule.pages }
}
