// SPDX-License-Identifier: MIT

// Whether orders are as likely as each other. Each test looks for another way of
// being wrong: a place that some pages prefer, an order of few pages that is too
// common, a shuffle that leaves too few cycles (swapping with itself excluded) or
// too many, neighbours that stay near each other. Counts are added up over all
// draws, so memory does not grow; every test's distribution is exact, or exact but
// for terms far below what a million draws show.

import Glibc

/// One test of randomness.
public struct RandomnessTest: Codable, Equatable, Sendable {
    public let name: String
    public let statistic: Double
    /// Nil for a normal deviate.
    public let degreesOfFreedom: Int?
    /// The chance of a statistic at least as far off, if all orders are as likely as each other.
    public let p: Double

    /// Below this a test has failed: a fair generator fails one run in 10^5 or so of all tests together.
    public static let limit = 1e-6
    /// With so many degrees of freedom counts do not come as even as can be by chance: a generator that takes turns fails.
    private static let degreesForEvenness = 9
    public var passes: Bool {
        guard p.isFinite, p >= Self.limit else { return false }
        return (degreesOfFreedom ?? 0) < Self.degreesForEvenness || p <= 1 - Self.limit
    }
}

/// Counts of orders of a fixed number of pages.
public struct UniformityTally: Sendable {
    /// Pages of each order.
    public let pageCount: Int
    public private(set) var draws = 0

    private static let mostBlocks = 64
    private let blockCount: Int
    /// The block of each page, for `positions`.
    private let blocks: [Int]
    private let distanceCells: Int
    /// How often a page of one block lies in another: rows of `blockCount`.
    private var positions: [Int]
    private var cycles = (sum: 0, squares: 0)
    private var fixedPoints = [Int](repeating: 0, count: 12)
    private var successions = [Int](repeating: 0, count: 12)
    /// From one page to the next, modulo the number of pages, in cells; of one pair of each draw.
    private var distances: [Int]
    /// Where both pages of that pair lie, in blocks of `pairBlocks`.
    private var pairs: [Int]
    private let pairBlocks: Int
    /// All orders of four pages, by their number; counted for four pages only.
    private var arrangements = [Int](repeating: 0, count: 24)
    private var seen: [UInt32]

    /// - Parameter pageCount: at least 4.
    public init(pageCount: Int) {
        self.pageCount = pageCount
        blockCount = min(Self.mostBlocks, pageCount)
        blocks = (0..<pageCount).map { [blockCount] in $0 * blockCount / pageCount }
        positions = [Int](repeating: 0, count: blockCount * blockCount)
        distanceCells = min(64, pageCount - 1)
        distances = [Int](repeating: 0, count: distanceCells)
        pairBlocks = min(16, pageCount)
        pairs = [Int](repeating: 0, count: pairBlocks * pairBlocks)
        seen = [UInt32](repeating: 0, count: pageCount)
    }

    /// The block of a page: blocks differ by one page in size at most.
    private func block(_ page: Int, of blocks: Int) -> Int { page * blocks / pageCount }

    private func blockSizes(_ blocks: Int) -> [Double] {
        var sizes = [Double](repeating: 0, count: blocks)
        for page in 0..<pageCount { sizes[block(page, of: blocks)] += 1 }
        return sizes
    }

    /// Counts one order: the frame of each page.
    ///
    /// - Returns: false, with nothing counted, where it is no order of that many pages.
    public mutating func add(_ order: [UInt32]) -> Bool {
        guard order.count == pageCount, order.allSatisfy({ $0 < pageCount }) else { return false }
        // Each draw marks what it has seen with its own number.
        let mark = UInt32(truncatingIfNeeded: draws + 1)
        var cycleCount = 0
        for start in order.indices where seen[start] != mark {
            cycleCount += 1
            var page = start
            while seen[page] != mark {
                seen[page] = mark
                page = Int(order[page])
            }
            guard page == start else { return reset() }
        }
        draws += 1
        cycles.sum += cycleCount
        cycles.squares += cycleCount * cycleCount
        var (fixed, following) = (0, 0)
        var previous = -2
        for (page, frame) in order.enumerated() {
            let frame = Int(frame)
            if frame == page { fixed += 1 }
            if frame == previous + 1 { following += 1 }
            previous = frame
            positions[blocks[page] * blockCount + blocks[frame]] += 1
        }
        fixedPoints[min(fixed, fixedPoints.count - 1)] += 1
        successions[min(following, successions.count - 1)] += 1
        let page = draws % (pageCount - 1)
        let (first, second) = (Int(order[page]), Int(order[page + 1]))
        let distance = (second - first + pageCount) % pageCount - 1
        distances[distance * distanceCells / (pageCount - 1)] += 1
        pairs[block(first, of: pairBlocks) * pairBlocks + block(second, of: pairBlocks)] += 1
        if pageCount == 4 { arrangements[Self.number(order)] += 1 }
        return true
    }

    /// Forgets the marks of a draw that is none.
    private mutating func reset() -> Bool {
        for page in seen.indices { seen[page] = 0 }
        return false
    }

    /// The number of an order of four among all 24: its Lehmer code.
    private static func number(_ order: [UInt32]) -> Int {
        (0..<4).reduce(0) { number, i in number * (4 - i) + order[(i + 1)...].count { $0 < order[i] } }
    }

    /// Adds what another tally of as many pages has counted.
    public mutating func merge(_ other: UniformityTally) {
        func add(_ a: inout [Int], _ b: [Int]) { for i in a.indices { a[i] += b[i] } }
        draws += other.draws
        cycles.sum += other.cycles.sum
        cycles.squares += other.cycles.squares
        add(&positions, other.positions)
        add(&fixedPoints, other.fixedPoints)
        add(&successions, other.successions)
        add(&distances, other.distances)
        add(&pairs, other.pairs)
        add(&arrangements, other.arrangements)
    }

    /// All tests of what was counted; at least a thousand draws should have been.
    public var tests: [RandomnessTest] {
        var tests: [RandomnessTest] = []
        func chiSquare(_ name: String, _ counts: [Int], _ chances: [Double]) {
            let result = pearson(counts, expected: chances.map { $0 * Double(draws) })
            tests.append(
                RandomnessTest(
                    name: name, statistic: result.statistic, degreesOfFreedom: result.degrees, p: result.p))
        }
        if pageCount == 4 {
            chiSquare("all orders of 4 pages", arrangements, [Double](repeating: 1 / 24, count: 24))
        }
        tests.append(positionTest)
        tests.append(contentsOf: cycleTests)
        chiSquare("pages in their own frames", fixedPoints, tailed(fixedPoints.count) { fixedChance($0) })
        chiSquare("neighbours that still follow", successions, tailed(successions.count) { successionChance($0) })
        chiSquare("distance of neighbours", distances, distanceChances)
        chiSquare("places of neighbours", pairs, pairChances)
        return tests
    }

    /// Chances of 0, 1, 2 ... with the rest in the last cell.
    private func tailed(_ count: Int, _ chance: (Int) -> Double) -> [Double] {
        let first = (0..<count - 1).map { $0 <= pageCount ? chance($0) : 0 }
        return first + [max(1 - first.reduce(0, +), 0)]
    }

    /// Places of one order exclude each other, which lowers the variance: the counts have the covariance of a table
    /// with given margins, n / (n - 1) times that of (b - 1)^2 free cells.
    private var positionTest: RandomnessTest {
        let sizes = blockSizes(blockCount)
        var statistic = 0.0
        for row in 0..<blockCount {
            for column in 0..<blockCount {
                let expected = Double(draws) * sizes[row] * sizes[column] / Double(pageCount)
                let difference = Double(positions[row * blockCount + column]) - expected
                statistic += difference * difference / expected
            }
        }
        statistic *= Double(pageCount - 1) / Double(pageCount)
        let degrees = (blockCount - 1) * (blockCount - 1)
        return RandomnessTest(
            name: "places of pages", statistic: statistic, degreesOfFreedom: degrees,
            p: chiSquareTail(statistic, degrees: degrees))
    }

    /// The number of cycles is a sum of independent draws that hit with the chances 1, 1/2, ... 1/n: its mean and its
    /// variance are known, and so is how far a sample's variance may lie off.
    private var cycleTests: [RandomnessTest] {
        let chances = (1...pageCount).map { 1 / Double($0) }
        let mean = chances.reduce(0, +)
        let variance = chances.reduce(0) { $0 + $1 * (1 - $1) }
        let fourth = chances.reduce(0) { $0 + $1 * (1 - $1) * (1 - 6 * $1 * (1 - $1)) } + 3 * variance * variance
        let count = Double(draws)
        let seenMean = Double(cycles.sum) / count
        let seenVariance =
            Double(cycles.squares) / count - 2 * mean * seenMean + mean * mean
        let first = (seenMean - mean) / (variance / count).squareRoot()
        let second = (seenVariance - variance) / ((fourth - variance * variance) / count).squareRoot()
        return [
            RandomnessTest(name: "number of cycles", statistic: first, degreesOfFreedom: nil, p: normalTails(first)),
            RandomnessTest(
                name: "spread of the number of cycles", statistic: second, degreesOfFreedom: nil,
                p: normalTails(second)),
        ]
    }

    /// k fixed points of n: the derangements of the rest, D(m) / m! = sum of (-1)^i / i!, divided by k!.
    private func fixedChance(_ k: Int) -> Double { derangement(pageCount - k) / factorial(k) }

    /// k successions of n: C(n - 1, k) (D(n - k) + D(n - k - 1)) orders (OEIS A123513).
    private func successionChance(_ k: Int) -> Double {
        guard k < pageCount else { return 0 }
        let m = pageCount - k
        // C(n - 1, k) m! / n! and C(n - 1, k) (m - 1)! / n!
        let falling = (0..<k).reduce(1.0) { $0 * Double(pageCount - 1 - $1) / Double(pageCount - $1) } / factorial(k)
        return falling * (derangement(m) + (m > 0 ? derangement(m - 1) / Double(m) : 0))
    }

    private func derangement(_ n: Int) -> Double {
        var (sum, term) = (0.0, 1.0)
        for i in 0...min(n, 30) {
            sum += term
            term /= -Double(i + 1)
        }
        return sum
    }

    private func factorial(_ k: Int) -> Double { k < 2 ? 1 : (2...k).reduce(1.0) { $0 * Double($1) } }

    private var distanceChances: [Double] {
        var sizes = [Double](repeating: 0, count: distanceCells)
        for distance in 0..<pageCount - 1 { sizes[distance * distanceCells / (pageCount - 1)] += 1 }
        return sizes.map { $0 / Double(pageCount - 1) }
    }

    private var pairChances: [Double] {
        let sizes = blockSizes(pairBlocks)
        let all = Double(pageCount) * Double(pageCount - 1)
        return (0..<pairBlocks * pairBlocks).map { cell in
            let (row, column) = (cell / pairBlocks, cell % pairBlocks)
            return sizes[row] * (sizes[column] - (row == column ? 1 : 0)) / all
        }
    }
}
