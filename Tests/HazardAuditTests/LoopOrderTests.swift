// SPDX-License-Identifier: MIT

// The order of blocks, held against what makes it one: what a block leads to
// comes behind it, or is the first block of a loop that both are in, and no
// block lies between those of a loop to which it does not belong.

import TestSupport
import Testing

@testable import HazardAudit

struct LoopOrderTests {
    /// A loop's way out comes first among the successors, and last in the order.
    @Test func whatIsBehindALoopComesBehindIt() {
        #expect(LoopOrder([[1], [4, 2], [3], [2, 1], []], roots: [0]).blocks == [0, 1, 2, 3, 4])
        #expect(LoopOrder([[1], [2, 4], [3], [2, 1], []], roots: [0]).blocks == [0, 1, 2, 3, 4])
    }

    @Test func onlyWhatIsReachedIsInIt() {
        #expect(LoopOrder([[], [0], [2]], roots: [1]).blocks == [1, 0])
        #expect(LoopOrder([[], [0], [2]], roots: [0, 2]).blocks == [0, 2])
    }

    @Test func randomGraphs() {
        var random = TestRandom()
        for _ in 0..<300 {
            let count = Int.random(in: 1...12, using: &random)
            let successors = (0..<count).map { _ in
                (0..<Int.random(in: 0...2, using: &random)).map { _ in Int.random(in: 0..<count, using: &random) }
            }
            let reached = (0..<count).map { reach(successors, from: $0) }
            let blocks = LoopOrder(successors, roots: [0]).blocks
            #expect(Set(blocks) == reached[0].union([0]), TestRandom.comment("\(successors)"))
            #expect(blocks.count == Set(blocks).count && blocks.first == 0, TestRandom.comment("\(successors)"))
            for (place, block) in blocks.enumerated() {
                for next in successors[block] {
                    guard let target = blocks.firstIndex(of: next), target <= place else { continue }
                    // All between lead back to the beginning, too.
                    #expect(
                        blocks[target...place].allSatisfy { reached[$0].contains(next) && reached[next].contains($0) },
                        TestRandom.comment("\(successors) \(blocks) \(block) \(next)"))
                }
            }
        }
    }

    private func reach(_ successors: [[Int]], from start: Int) -> Set<Int> {
        var seen: Set<Int> = []
        var open = successors[start]
        while let block = open.popLast() {
            if seen.insert(block).inserted { open += successors[block] }
        }
        return seen
    }
}

struct GrownValueTests {
    /// What has lost where it begins brings nothing new any more, whatever comes.
    @Test func wideningEnds() {
        let lost = Value(roots: [.many], isOther: true)
        for root in [Root.many, Root.many.anywhere, .number(8), .upTo(255)] {
            #expect(lost.grown(by: Value(roots: [root]), widening: true) == nil)
        }
        let grown = Value.constant(8).grown(by: .constant(1 << 40), widening: true)
        #expect(grown == lost)
    }

    @Test func onlyWhatIsNewGrows() {
        let both = Value.constant(8).grown(by: .constant(1 << 40), widening: false)
        #expect(both?.roots == [.number(8), .number(1 << 40)])
        #expect(both?.grown(by: .constant(8), widening: false) == nil)
        #expect(both?.grown(by: .other, widening: false)?.isOther == true)
        #expect(Value(bases: 1).grown(by: Value(bases: 2), widening: false)?.bases == 3)
        #expect(Value(roots: [.upTo(255)]).grown(by: .constant(8), widening: false) == nil)
    }
}
