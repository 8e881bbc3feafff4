// SPDX-License-Identifier: MIT

// The tests of randomness: what they compute, that they pass a fair generator, and
// that each kind of unfair one is caught.

import SecureRandom
import TestSupport
import Testing

@testable import SecurityEvaluation

struct ChiSquareTests {
    /// Values of Abramowitz and Stegun, table 26.8, and closed forms: two degrees are exp(-x / 2).
    @Test(arguments: [(3.841459, 1, 0.05), (18.307038, 10, 0.05), (124.342113, 100, 0.05), (2.0, 2, 0.367879441)])
    func tails(statistic: Double, degrees: Int, p: Double) {
        #expect(abs(chiSquareTail(statistic, degrees: degrees) - p) < 1e-6)
    }

    @Test func extremes() {
        #expect(chiSquareTail(0, degrees: 5) == 1)
        #expect(chiSquareTail(.infinity, degrees: 5) == 0)
        #expect(chiSquareTail(10_000, degrees: 10) < 1e-300)
        // Near the middle of many degrees, where series and fraction meet.
        #expect(abs(chiSquareTail(3969, degrees: 3969) - 0.497) < 0.001)
        #expect(abs(normalTails(1.959964) - 0.05) < 1e-6)
    }
}

/// Ways of shuffling; all but the first are wrong.
enum Shuffle: CaseIterable {
    /// Fisher and Yates.
    case fair
    /// Every slot swapped with any slot.
    case anySlot
    /// Never swapped with itself: cyclic orders only (Sattolo).
    case neverItself
    /// Numbers below a power of two, reduced.
    case modulo
    /// One more turn than there are pages, of a fair order.
    case oftenInOrder

    func order(_ count: Int, _ random: inout TestRandom) -> [UInt32] {
        var order = (0..<UInt32(count)).map { $0 }
        func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }
        for i in stride(from: count - 1, to: 0, by: -1) {
            switch self {
            case .anySlot: order.swapAt(i, below(count))
            case .neverItself: order.swapAt(i, below(i))
            case .modulo: order.swapAt(i, Int(random.next() & 63) % (i + 1))
            case .fair, .oftenInOrder: order.swapAt(i, below(i + 1))
            }
        }
        if self == .oftenInOrder, below(20) == 0, let at = order.indices.dropLast().randomElement(using: &random) {
            // Puts the successor of a page's frame behind it.
            let wanted = (order[at] + 1) % UInt32(count)
            if let other = order.firstIndex(of: wanted) { order.swapAt(at + 1, other) }
        }
        return order
    }
}

struct UniformityTests {
    private func tally(_ shuffle: Shuffle, pages: Int, draws: Int) -> UniformityTally {
        var random = TestRandom()
        var tally = UniformityTally(pageCount: pages)
        for _ in 0..<draws {
            let order = shuffle.order(pages, &random)
            let isCounted = tally.add(order)
            #expect(isCounted)
        }
        return tally
    }

    /// All orders of four pages by turns: as even as nothing drawn is.
    @Test func ordersInTurn() {
        var tally = UniformityTally(pageCount: 4)
        for number in 0..<24 * 1000 {
            var (rest, left) = (number % 24, [UInt32](0..<4))
            let order = (0..<4).map { place in
                let at = rest % (4 - place)
                rest /= 4 - place
                return left.remove(at: at)
            }
            let isCounted = tally.add(order)
            #expect(isCounted)
        }
        let test = tally.tests.first { $0.name == "all orders of 4 pages" }
        #expect(test?.p == 1 && test?.passes == false)
    }

    @Test(arguments: [4, 5, 17, 100])
    func fairOrdersPass(pages: Int) {
        let tests = tally(.fair, pages: pages, draws: 20_000).tests
        #expect(tests.count == (pages == 4 ? 8 : 7))
        for test in tests { #expect(test.passes, TestRandom.comment("\(test)")) }
    }

    @Test(arguments: Shuffle.allCases.filter { $0 != .fair })
    func unfairOrdersAreCaught(shuffle: Shuffle) {
        let tests = tally(shuffle, pages: 48, draws: 40_000).tests
        #expect(tests.contains { !$0.passes }, TestRandom.comment("\(shuffle): \(tests)"))
    }

    @Test func whatIsNoOrderIsNotCounted() {
        var tally = UniformityTally(pageCount: 4)
        for wrong in [[0, 1, 2], [0, 1, 2, 4], [0, 0, 2, 3]] as [[UInt32]] {
            let isCounted = tally.add(wrong)
            #expect(!isCounted)
        }
        #expect(tally.draws == 0)
        let isCounted = tally.add([0, 1, 3, 2])
        #expect(isCounted)
        #expect(tally.draws == 1)
    }

    /// The tool's own generator, on all processors; the million is for the command line.
    @Test func theToolsOrdersPass() throws {
        for pages in [4, 256] {
            let tally = try UniformityTally.drawing(20_001, pageCount: pages, seed: try Seed.forTest())
            #expect(tally.draws == 20_001)
            for test in tally.tests { #expect(test.passes, TestRandom.comment("\(test)")) }
        }
    }

    @Test func talliesAddUp() {
        var random = TestRandom()
        var one = UniformityTally(pageCount: 9)
        var (two, both) = (one, one)
        for number in 0..<200 {
            let order = Shuffle.fair.order(9, &random)
            _ = both.add(order)
            _ = number % 2 == 0 ? one.add(order) : two.add(order)
        }
        one.merge(two)
        #expect(one.draws == both.draws)
        #expect(one.tests.first { $0.name == "places of pages" } == both.tests.first { $0.name == "places of pages" })
        #expect(one.tests.first { $0.name == "number of cycles" } == both.tests.first { $0.name == "number of cycles" })
    }
}
