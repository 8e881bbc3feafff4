// SPDX-License-Identifier: MIT

// Which frames an attacker who knows the plan has to reckon with.

public import PagePermutation

extension PermutationProblem {
    /// The frames that a drawn permutation may put a page into, ascending; its own alone where it stays. With a granule
    /// of several pages there is one in each granule that moves.
    public func frames(for page: Int) -> [Int] {
        let (number, offset) = page.quotientAndRemainder(dividingBy: granule.pages)
        guard let own = pageClass(of: page), movableGranules(inClass: own).contains(number) else { return [page] }
        return movableGranules(inClass: own).map { $0 * granule.pages + offset }
    }

    /// Whether each of these frames is as likely as any other: glued pages fit in fewer places.
    public func spreadsEvenly(_ page: Int) -> Bool { pageClass(of: page).map { gluedRuns(inClass: $0).isEmpty } ?? true }

    private func pageClass(of page: Int) -> Int? {
        classes.firstIndex { $0.ranges.contains { $0.contains(page) } }
    }
}
