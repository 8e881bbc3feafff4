// SPDX-License-Identifier: MIT

// The attacker who may read physical memory. The image is public, so a page tells
// by its contents which one it is, unless others hold the same. Against somebody
// who reads everything a permutation is worth nothing but the work of reading.

public import PagePermutation

/// What reading gives away of one class.
public struct FingerprintFigures: Codable, Equatable, Sendable {
    public let name: String
    /// Pages that move and hold bytes which no other page of the class has.
    public let unique: Int
    /// Pages that move and share their bytes with others of the class, zeros of the image's file among them.
    public let shared: Int
    /// Pages that move and have no bytes in the public file: the kernel makes their contents.
    public let unknown: Int
    /// Bits of a page's place for somebody who has read the whole class, averaged over the pages that move. Pages of
    /// equal contents, and those without any in the file, count as one group each.
    public let bitsAfterReadingAll: Double
    /// Frames read on average until a page with contents of its own is found.
    public let readsToFind: Double

    init(_ problem: PermutationProblem, class index: Int, contents: [Int?]) {
        let size = problem.granule.pages
        var groups: [Int: Int] = [:]
        var unknown = 0
        let granules = problem.movableGranules(inClass: index)
        for granule in granules {
            for page in granule * size..<(granule + 1) * size {
                if let contents = contents[page] { groups[contents, default: 0] += 1 } else { unknown += 1 }
            }
        }
        let pages = granules.count * size
        let sizes = Array(groups.values) + (unknown > 0 ? [unknown] : [])
        name = problem.classes[index].name
        unique = groups.values.count { $0 == 1 }
        shared = pages - unknown - unique
        self.unknown = unknown
        // Whoever has found one page of a granule has found all: no more candidates than granules.
        bitsAfterReadingAll =
            pages == 0
            ? 0
            : (sizes.reduce(0) { $0 + Double($1) * Double(min($1, granules.count)).log2 } / Double(pages)).rounded6
        readsToFind = granules.isEmpty ? 0 : (Double(granules.count) + 1) / 2
    }
}

extension PermutationProblem {
    /// What reading gives away, class by class.
    ///
    /// - Parameter contents: for each page a number that equal contents share, or nil where the file has no bytes.
    public func fingerprints(contents: [Int?]) -> [FingerprintFigures] {
        classes.indices.map { FingerprintFigures(self, class: $0, contents: contents) }
    }
}
