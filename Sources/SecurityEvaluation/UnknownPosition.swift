// SPDX-License-Identifier: MIT

// What guessing faces where neither the order is known nor where the image begins.
// The bits of the two do not add up: an image is longer than KASLR's slots are
// apart, so one frame of memory may hold the page with the image in this slot or
// in that one, and a guess at it has the chances of all of these together.

import Addressing
public import PagePermutation

extension PermutationProblem {
    /// Min-entropy of where in physical memory a page lies, in bits, for somebody who does not know the image's position;
    /// a lower bound where frames differ in chance.
    public func minEntropyWithoutPosition(of page: Int, _ kaslr: KASLRSlots) -> Double {
        let slots = max(kaslr.physical, 1)
        let stride = max(Int(kaslr.alignment) / pageSize, 1)
        let together = Self.mostAtOnePlace(frames(for: page), stride: stride, slots: slots)
        let likeliest = place(of: page).distribution.likeliest * Double(together) / Double(slots)
        return -min(likeliest, 1).log2
    }

    /// How many of these frames (ascending) one frame of memory may be, the image being in one slot or another.
    private static func mostAtOnePlace(_ frames: [Int], stride: Int, slots: Int) -> Int {
        var most = 1
        for group in Dictionary(grouping: frames, by: { $0 % stride }).values {
            var first = 0
            for (index, frame) in group.enumerated() {
                while frame - group[first] >= slots * stride { first += 1 }
                most = max(most, index - first + 1)
            }
        }
        return most
    }
}
