// SPDX-License-Identifier: MIT

// Which pages are asked for, in which order. A real kernel's order, from a
// trace, is an array of page numbers like the others.

public import SecureRandom

/// Page numbers in the order of their use.
public struct AccessPattern: Sendable {
    public let name: String
    public let pages: [UInt32]

    /// The number of pages that `hot` uses.
    static let hotPages = 16

    /// All patterns, of so many pages each; the last one only with a trace that names pages of the image.
    ///
    /// - Throws: `SeedError.outOfMemory` when libsodium has no locked memory left.
    public static func all(
        _ count: Int, of pageCount: Int, seed: borrowing Seed, replaying trace: [UInt32] = []
    ) throws(SeedError) -> [Self] {
        var stream = try RandomStream(seed: seed, domain: "kperm/bench/patterns")
        let drawn = [
            hot(count, of: pageCount, &stream), uniform(count, of: pageCount, &stream),
            zipf(count, of: pageCount, &stream),
        ]
        return drawn + [replayed(count, of: pageCount, trace)].compactMap { $0 }
    }

    /// A few pages, over and over.
    static func hot(_ count: Int, of pageCount: Int, _ stream: inout RandomStream) -> Self {
        let few = (0..<hotPages).map { _ in stream.uniform(below: UInt32(pageCount)) }
        return Self(name: "hot", pages: (0..<count).map { _ in few[Int(stream.uniform(below: UInt32(hotPages)))] })
    }

    /// Every page as likely as another.
    static func uniform(_ count: Int, of pageCount: Int, _ stream: inout RandomStream) -> Self {
        Self(name: "uniform", pages: (0..<count).map { _ in stream.uniform(below: UInt32(pageCount)) })
    }

    /// The page of rank k, in a random ranking, k times less often than the first (Zipf's law, exponent 1).
    static func zipf(_ count: Int, of pageCount: Int, _ stream: inout RandomStream) -> Self {
        var ranking = (0..<UInt32(pageCount)).map { $0 }
        for i in stride(from: pageCount - 1, to: 0, by: -1) {
            ranking.swapAt(i, Int(stream.uniform(below: UInt32(i + 1))))
        }
        var sums: [Double] = []
        var sum = 0.0
        for rank in 1...pageCount {
            sum += 1 / Double(rank)
            sums.append(sum)
        }
        let pages = (0..<count).map { _ in
            let place = Double(stream.next()) / 0x1p32 * sum
            var low = 0
            var high = pageCount - 1
            while low < high {
                let middle = (low + high) / 2
                if sums[middle] > place { high = middle } else { low = middle + 1 }
            }
            return ranking[low]
        }
        return Self(name: "zipf", pages: pages)
    }

    /// Pages in the order of a trace, from its beginning again where it ends; nil if it names none of the image.
    static func replayed(_ count: Int, of pageCount: Int, _ trace: [UInt32]) -> Self? {
        let known = trace.filter { $0 < pageCount }
        guard !known.isEmpty else { return nil }
        return Self(name: "replayed", pages: (0..<count).map { known[$0 % known.count] })
    }
}
