// SPDX-License-Identifier: MIT

// The attacker's luck, held against the guest's page tables: they say whether he
// wrote to the right frame, and then userspace must see it, and only then.

import Addressing
import PagePermutation

extension AttackResult {
    /// A class of which more pages than this lie in their own frames is not one in which all of them trade places: a
    /// random order leaves one on average, and so many once in 10^13.
    private static let mayStay = 15

    /// Puts together what was done and seen.
    ///
    /// - Parameters:
    ///   - written: the first byte that was.
    ///   - place: the target's first byte, by the guest's page tables.
    ///   - running: the running kernel, with its live table.
    init(
        _ attack: Attack, _ verdict: Aftermath.Verdict, written: PhysicalAddress?, place: PhysicalAddress?, page: Int,
        _ running: GuestExpectation
    ) {
        let isRight = written != nil && written == place
        outcome = verdict.outcome
        target = attack.target.name
        offsetInFrame = written?.offsetInPage
        isRightFrame = isRight
        seen = verdict.seen
        detail = verdict.detail
        (frames, leaked, reads) =
            switch attack.method {
            case .blind, .alias: (attack.frames.count, 0, 0)
            case .leak(let pages, let includingTarget): (includingTarget ? 1 : attack.frames.count - pages, pages, 0)
            case .fingerprint(let reads): (attack.frames.count, 0, reads)
            }
        let frame = Int(running.table.forward[page])
        let byTable = running.physicalAddress(ofFrame: frame) + UInt64(attack.target.address.offsetInPage)
        let stayed = attack.frames.count { Int(running.table.forward[$0]) == $0 }
        contradiction =
            if place != byTable {
                "the table and the guest's page tables disagree on where \(target)'s page lies"
            } else if !attack.frames.contains(frame) {
                "\(target)'s page lies in a frame that the plan leaves out"
            } else if attack.spreadsEvenly, stayed > Self.mayStay {
                "\(stayed) of the \(attack.frames.count) pages that the plan lets trade places did not move"
            } else if verdict.outcome == .hit, !isRight {
                "userspace sees the attack, which wrote to another frame"
            } else if verdict.outcome == .missed, isRight {
                "\(target)'s frame was written, and userspace does not see it"
            } else {
                nil
            }
    }
}
