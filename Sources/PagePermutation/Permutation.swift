// SPDX-License-Identifier: MIT

// A permutation is a bijection page -> frame inside the image's own physical
// range: the one value everything in kperm turns around. It can only be made
// through a problem, and a value that breaks the problem's demands cannot be
// made at all.
//
// Drawing, algorithm 1. For each class, from a stream of its own with the
// domain "kperm/1/" + class name (RandomStream.swift):
//   1. the slots are the class's granules that move, ascending;
//   2. glued runs, longest first, then lowest first, each go to one of the
//      places where the run fits into free slots, listed ascending, chosen
//      uniformly. If one fits nowhere, step 2 begins again with the stream
//      going on; after 64 beginnings the runs stay where they are;
//   3. the remaining granules take the remaining slots in the order of a
//      Fisher-Yates shuffle: for i from n - 1 down to 1, swap slot i with slot
//      uniform(i + 1).

public import Addressing
public import SecureRandom

/// How a given order breaks the demands of a problem.
public enum PermutationError: Error, Equatable, Sendable {
    case wrongLength(Int, expected: Int)
    case notABijection(page: Int, frame: Int)
    case leavesClass(page: Int, frame: Int)
    case movesPinned(page: Int)
    case breaksGlue(page: Int)
    case breaksGranule(page: Int)
}

extension PermutationError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .wrongLength(let count, let expected): "a permutation of \(count) pages where \(expected) are needed"
        case .notABijection(let page, let frame): "page \(page) goes to frame \(frame), which is taken or outside"
        case .leavesClass(let page, let frame): "page \(page) goes to frame \(frame) of another class"
        case .movesPinned(let page): "page \(page) is pinned or in no class, yet it moves"
        case .breaksGlue(let page): "page \(page) is glued to its neighbour, yet they part"
        case .breaksGranule(let page): "page \(page) leaves its granule"
        }
    }
}

/// A bijection between pages and frames that answers a `PermutationProblem`.
public struct Permutation: Equatable, Sendable {
    /// The number of the drawing algorithm described above.
    public static let algorithm = 1

    /// The frame of each page.
    public let forward: [UInt32]
    /// The page in each frame.
    public let inverse: [UInt32]

    /// Every page in its own frame.
    public init(identity pageCount: Int) {
        forward = (0..<UInt32(pageCount)).map { $0 }
        inverse = forward
    }

    /// A given order, checked against a problem.
    public init(forward: [UInt32], for problem: PermutationProblem) throws(PermutationError) {
        guard forward.count == problem.pageCount else {
            throw .wrongLength(forward.count, expected: problem.pageCount)
        }
        var inverse = [UInt32](repeating: .max, count: forward.count)
        for (page, frame) in forward.enumerated() {
            guard frame < forward.count, inverse[Int(frame)] == .max else {
                throw .notABijection(page: page, frame: Int(frame))
            }
            inverse[Int(frame)] = UInt32(page)
        }
        self.forward = forward
        self.inverse = inverse
        try check(problem)
    }

    private func check(_ problem: PermutationProblem) throws(PermutationError) {
        let size = problem.granule.pages
        var classOf = [Int](repeating: -1, count: forward.count)
        for (index, movable) in problem.movable.enumerated() {
            for slot in movable.slots { for page in slot * size..<(slot + 1) * size { classOf[page] = index } }
        }
        for (page, frame) in forward.enumerated() {
            let frame = Int(frame)
            guard classOf[page] >= 0 || frame == page else { throw .movesPinned(page: page) }
            guard classOf[page] == classOf[frame] else { throw .leavesClass(page: page, frame: frame) }
            let first = page - page % size
            guard frame - page % size == Int(forward[first]), Int(forward[first]) % size == 0 || frame == page else {
                throw .breaksGranule(page: page)
            }
        }
        for run in problem.glue {
            for page in run.pages.dropFirst() where forward[page] != forward[page - 1] + 1 {
                throw .breaksGlue(page: page)
            }
        }
    }

    /// Draws by algorithm 1. The same problem and seed give the same permutation on every machine.
    ///
    /// - Throws: `SeedError.outOfMemory` when libsodium has no locked memory left.
    public static func draw(_ problem: PermutationProblem, seed: borrowing Seed) throws(SeedError) -> Permutation {
        var forward = (0..<UInt32(problem.pageCount)).map { $0 }
        for (pageClass, movable) in zip(problem.classes, problem.movable) where movable.slots.count > 1 {
            var stream = try RandomStream(seed: seed, domain: pageClass.domain)
            place(movable, problem.granule.pages, &stream, in: &forward)
        }
        return Permutation(bijection: forward)
    }

    /// The frame of each page, all classes drawn from one stream that goes on: for tests of the drawing, which needs no
    /// seed for each draw then.
    package static func drawOrder(_ problem: PermutationProblem, from stream: inout RandomStream) -> [UInt32] {
        var forward = (0..<UInt32(problem.pageCount)).map { $0 }
        for movable in problem.movable where movable.slots.count > 1 {
            place(movable, problem.granule.pages, &stream, in: &forward)
        }
        return forward
    }

    private init(bijection forward: [UInt32]) {
        var inverse = forward
        for (page, frame) in forward.enumerated() { inverse[Int(frame)] = UInt32(page) }
        self.init(forward: forward, inverse: inverse)
    }

    /// Sends the pages of a class to their frames.
    private static func place(
        _ movable: PermutationProblem.Movable, _ size: Int, _ stream: inout RandomStream, in forward: inout [UInt32]
    ) {
        func send(_ granule: Int, to slot: Int) {
            for i in 0..<size { forward[granule * size + i] = UInt32(slot * size + i) }
        }
        var (placed, slots) = placeRuns(movable, &stream)
        for (granule, slot) in placed { send(granule, to: slot) }
        for i in stride(from: slots.count - 1, to: 0, by: -1) {
            slots.swapAt(i, Int(stream.uniform(below: UInt32(i + 1))))
        }
        let singles = movable.runs.isEmpty ? movable.slots : remaining(movable.slots, without: movable.runs)
        for (granule, slot) in zip(singles, slots) { send(granule, to: slot) }
    }

    private init(forward: [UInt32], inverse: [UInt32]) {
        self.forward = forward
        self.inverse = inverse
    }

    /// Where the glued runs of a class go, and which slots that leaves free.
    private static func placeRuns(
        _ movable: PermutationProblem.Movable, _ stream: inout RandomStream
    ) -> (placed: [(granule: Int, slot: Int)], free: [Int]) {
        guard !movable.runs.isEmpty else { return ([], movable.slots) }
        attempts: for _ in 0..<64 {
            var free = movable.slots
            var placed: [(granule: Int, slot: Int)] = []
            for run in movable.runs {
                let starts = free.indices.filter {
                    $0 + run.count <= free.count && free[$0 + run.count - 1] == free[$0] + run.count - 1
                }
                guard !starts.isEmpty else { continue attempts }
                let start = starts[Int(stream.uniform(below: UInt32(starts.count)))]
                placed += run.enumerated().map { (granule: $1, slot: free[start + $0]) }
                free.removeSubrange(start..<start + run.count)
            }
            return (placed, free)
        }
        let home = movable.runs.flatMap { $0.map { (granule: $0, slot: $0) } }
        return (home, remaining(movable.slots, without: movable.runs))
    }

    private static func remaining(_ slots: [Int], without runs: [Range<Int>]) -> [Int] {
        let taken = Set(runs.joined())
        return slots.filter { !taken.contains($0) }
    }

    public func frame(of page: Page) -> Frame { Frame(Int(forward[page.index])) }

    public func page(in frame: Frame) -> Page { Page(Int(inverse[frame.index])) }

    /// Pages whose frame differs from the one a linear mapping would give.
    public var movedCount: Int { forward.indices.count { forward[$0] != UInt32($0) } }

    /// Pages whose next page is still in the next frame, though both move.
    public var keptNeighbours: Int {
        forward.indices.dropLast().count {
            forward[$0] != UInt32($0) && forward[$0 + 1] == forward[$0] + 1
        }
    }
}
