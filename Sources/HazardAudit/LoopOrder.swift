// SPDX-License-Identifier: MIT

// The order in which to follow a function's blocks: each before those that it
// leads to, and what is behind a loop only when nothing in the loop is new any
// more, or else it would be followed once for each round. (A weak topological
// order: F. Bourdoncle, Efficient chaotic iteration strategies with widenings,
// 1993; here by strongly connected parts, with no recursion.)

/// Blocks of a graph, a loop's first block before the others of the loop and these next to each other.
struct LoopOrder {
    /// Those that can be reached.
    private(set) var blocks: [Int] = []
    private let successors: [[Int]]
    /// Which part of the graph a block is in.
    private var parts: [Int]
    private var partCount = 1
    /// When a search came to a block, from 1, and the earliest of its part that can be reached from there.
    private var times: [Int]
    private var earliest: [Int]
    private var time = 0

    init(_ successors: [[Int]], roots: [Int]) {
        self.successors = successors
        parts = Array(repeating: 0, count: successors.count)
        times = parts
        earliest = parts
        var open = split(0, from: roots.reversed())
        while let part = open.popLast() {
            blocks.append(part[0])
            guard part.count > 1 else { continue }
            // Without the loop's first block.
            let number = parts[part[0]]
            parts[part[0]] = -1
            open += split(number, from: Array(part.dropFirst()))
        }
    }

    /// The strongly connected parts of a part, each from where the search came to it and each behind those that it leads
    /// to (R. Tarjan, Depth-first search and linear graph algorithms, 1972).
    private mutating func split(_ part: Int, from starts: [Int]) -> [[Int]] {
        var found: [[Int]] = []
        var path: [(block: Int, successor: Int)] = []
        var pending: [Int] = []
        for start in starts where parts[start] == part && times[start] == 0 {
            enter(start, &path, &pending)
            while let (block, successor) = path.last {
                if successor < successors[block].count {
                    path[path.count - 1].successor += 1
                    let next = successors[block][successor]
                    if parts[next] != part { continue }
                    if times[next] == 0 {
                        enter(next, &path, &pending)
                    } else {
                        earliest[block] = min(earliest[block], times[next])
                    }
                    continue
                }
                path.removeLast()
                if let (before, _) = path.last { earliest[before] = min(earliest[before], earliest[block]) }
                guard earliest[block] == times[block], let first = pending.lastIndex(of: block) else { continue }
                found.append(Array(pending[first...]))
                for member in pending[first...] {
                    parts[member] = partCount
                    times[member] = 0
                }
                pending.removeSubrange(first...)
                partCount += 1
            }
        }
        return found
    }

    private mutating func enter(
        _ block: Int, _ path: inout [(block: Int, successor: Int)], _ pending: inout [Int]
    ) {
        time += 1
        times[block] = time
        earliest[block] = time
        path.append((block, 0))
        pending.append(block)
    }
}
