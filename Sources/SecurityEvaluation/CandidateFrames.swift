// SPDX-License-Identifier: MIT

// Which frames an attacker who knows the plan has to reckon with.

public import PagePermutation

extension PermutationProblem {
    /// The frames that a drawn permutation may put a page into, ascending; its own alone where it stays. With a granule
    /// of several pages there is one in each granule that moves.
    public func frames(for page: Int) -> [Int] {
        guard let own = movingClass(of: page) else { return [page] }
        return movableGranules(inClass: own).map { $0 * granule.pages + page % granule.pages }
    }

    /// Whether each of these frames is as likely as any other: glued pages fit in fewer places.
    public func spreadsEvenly(_ page: Int) -> Bool {
        movingClass(of: page).map { gluedRuns(inClass: $0).isEmpty } ?? true
    }

    /// The class that a page is in; nil for what stays by nature.
    func pageClass(of page: Int) -> Int? { classes.firstIndex { $0.ranges.contains { $0.contains(page) } } }

    /// The class that a page moves in; nil where it stays.
    public func movingClass(of page: Int) -> Int? {
        pageClass(of: page).flatMap { movableGranules(inClass: $0).contains(page / granule.pages) ? $0 : nil }
    }
}
