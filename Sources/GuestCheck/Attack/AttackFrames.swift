// SPDX-License-Identifier: MIT

// Which frames an attacker who knows the plan has to reckon with.

public import PagePermutation

extension PermutationProblem {
    /// The frames that a drawn permutation may put a page into, ascending; its own alone where it stays. With a granule
    /// of several pages there is one in each granule that moves.
    public func frames(for page: Int) -> [Int] {
        let (granule, offset) = page.quotientAndRemainder(dividingBy: self.granule.pages)
        let own = drawings.first { $0.granules.contains { $0.contains(granule) } }
        return own?.granules.joined().map { $0 * self.granule.pages + offset } ?? [page]
    }

    /// Whether each of these frames is as likely as any other: glued pages fit in fewer places.
    public func spreadsEvenly(_ page: Int) -> Bool {
        let own = drawings.first { $0.granules.contains { $0.contains(page / granule.pages) } }
        return own?.runs.isEmpty ?? true
    }
}
