// SPDX-License-Identifier: MIT

// An attack before it is run: what it aims at in one kernel, and how often it must
// work by the plan. The results of attacks are held against the same.

import Addressing
import GuestCheck
import KernelImage
import KernelRewrite
import PagePermutation
import SecurityEvaluation

/// What is said of an attack, whatever the kernel.
struct AttackWay {
    let kind: EvaluateAttack.Kind
    let aim: AttackAim
    /// With leak; one page unless given.
    var leaked: Int?
    var leaksTarget = false
    /// With fingerprint; half of the frames unless given.
    var reads: Int?
    /// Where the target lies, instead of at its symbol.
    var address: VirtualAddress?
}

/// An attack, and what is known of it beforehand.
struct PlannedAttack {
    let attack: Attack
    let release: String
    let build: String?
    let pageClass: String
    let isPermuted: Bool

    /// - Parameter problem: nil for a kernel that is not permuted.
    init(
        _ way: AttackWay, in image: borrowing KernelImage, _ analysis: KernelAnalysis, _ problem: PermutationProblem?
    ) throws {
        guard let release = analysis.release else {
            throw CommandFailure.input("\(image.path): not Linux: nothing in it tells what an attack did")
        }
        let target = try way.aim.target(in: image, analysis, at: way.address)
        guard let page = analysis.map.page(of: target.address) else {
            throw CommandFailure.input("\(image.path): \(target.name) (\(target.address)) lies outside the image")
        }
        let frames = problem?.frames(for: page) ?? [page]
        let method: Attack.Method =
            switch way.kind {
            case .modprobePath, .corePattern, .text: .blind
            case .alias: .alias
            case .leak:
                .leak(
                    pages: way.leaked ?? min(1, frames.count - (way.leaksTarget ? 0 : 1)),
                    includingTarget: way.leaksTarget)
            case .fingerprint: .fingerprint(reads: way.reads ?? (frames.count + 1) / 2)
            }
        let attack = Attack(
            method, on: target, frames: frames, spreadsEvenly: problem?.spreadsEvenly(page) ?? true)
        if let problem = attack.problem(imageBase: analysis.map.virtualBase, pageCount: analysis.map.pageCount) {
            throw CommandFailure.input("\(image.path): \(problem)")
        }
        self.attack = attack
        self.release = release
        build = analysis.build
        pageClass = analysis.classes.first { $0.ranges.contains { $0.contains(page) } }?.name ?? "none"
        isPermuted = problem != nil
    }
}
