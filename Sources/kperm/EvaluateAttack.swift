// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import GuestCheck
import KernelImage
import KernelRewrite
import PagePermutation

struct EvaluateAttack: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attack",
        abstract: "Attack a running kernel's physical memory, and count how often that works.",
        discussion: """
            Boots the image in QEMU so many times. Each time the guest says what it sees, is stopped, gets a few bytes \
            written into its physical memory past all of its mappings, and goes on: the attack has worked when userspace \
            sees the effect. The attacker knows the public image, the physical base of the running kernel and where its \
            linear map begins, so that only the permutation is measured. A vmlinuz must draw at every boot; of a permuted vmlinux each boot gets a \
            fresh permutation. A stock kernel shows what an attack is worth without kperm.

            KIND is

              modprobe-path  a blind write of another path to the frame where the public image has modprobe_path
              core-pattern   the same with core_pattern
              text           a blind patch of the first instructions of a system call that userspace makes
              alias          a write at the linear map's address of that frame, if the kernel's own mapping allows it
              leak           so many places of pages of the class are known (--leaked), and a guess among the others
              fingerprint    so many frames of the class are read (--reads), and the one that holds the target is written

            The last three aim at --target. Beside the rate and Wilson's interval at 95 % stands the prediction: with N \
            frames of the class that may hold the page 1/N, with k of them known 1/(N-k), with R of them read R/N, and 1 \
            where the page is pinned. A guest that crashes is a miss. Runs of the same kernel differ by chance: 1 of 20 \
            intervals does not hold its prediction.

            Exit status 1 when a boot shows what cannot be (a right write without effect, say), or when so many hits or \
            so few would come by chance less than once in a million times.

              kperm evaluate attack vmlinuz --kind modprobe-path --boots 10
              kperm evaluate attack vmlinuz.kperm --kind leak --leaked 100 --boots 50
              kperm evaluate attack vmlinuz.kperm --kind fingerprint --target text --reads 1000
            """)

    enum Kind: String, CaseIterable, ExpressibleByArgument {
        case modprobePath = "modprobe-path"
        case corePattern = "core-pattern"
        case text, alias, leak, fingerprint

        /// What it aims at; nil where that is to be said.
        var aim: AttackAim? { AttackAim(rawValue: rawValue) }
    }

    @Argument(help: "A permuted image, or a stock one.", completion: .file())
    var image: String

    @Option(help: "The attack: \(Kind.allCases.map(\.rawValue).joined(separator: ", ")).")
    var kind: Kind

    @Option(
        help: "What alias, leak and fingerprint aim at: \(AttackAim.allCases.map(\.rawValue).joined(separator: ", ")).")
    var target: AttackAim?

    @Option(help: "Boot and attack so many times.")
    var boots = 10

    @Option(help: "With leak: pages of the target's class whose places are known (1).")
    var leaked: Int?

    @Flag(help: "With leak: the target's own page is one of these.")
    var leaksTarget = false

    @Option(help: "With fingerprint: frames that the attacker may read (half of those of the class).")
    var reads: Int?

    @Option(
        help: "Where the target lies, if the image has no such symbol.",
        transform: { text in
            guard let number = parseNumber(text) else { throw ValidationError("'\(text)' is no address") }
            return VirtualAddress(number)
        })
    var address: VirtualAddress?

    @Option(help: "Plan and symbols of a permuted vmlinuz from its original.", completion: .file())
    var original: String?

    @OptionGroup var guest: GuestArguments

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if boots < 1 { throw ValidationError("--boots takes a number from 1 on") }
        if kind != .leak, leaked != nil || leaksTarget {
            throw ValidationError("--leaked and --leaks-target go with --kind leak")
        }
        if kind != .fingerprint, reads != nil { throw ValidationError("--reads goes with --kind fingerprint") }
        if let leaked, leaked < 0 { throw ValidationError("--leaked takes a number from 0 on") }
        if leaksTarget, leaked == 0 { throw ValidationError("--leaks-target: --leaked takes a number from 1 on then") }
        if let reads, reads < 0 { throw ValidationError("--reads takes a number from 0 on") }
        if kind.aim != nil, target != nil {
            throw ValidationError("--kind \(kind.rawValue) names its target itself")
        }
    }

    func run() async throws {
        if try isCompressed(image) { return try await runCompressed() }
        guard original == nil else {
            throw CommandFailure.input("\(image): not a vmlinuz: its original is in it, --original is not needed")
        }
        let stock = try openImage(image)
        guard PermutedImage.isPermuted(stock) else {
            let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.ofRunnable(stock) }
            let attack = try attack(stock, analysis, nil)
            let expectation = try GuestExpectation.of(stock, analysis)
            return try await run(attack) { expectation }
        }
        let permuted = try attempt { [image] () throws(RewriteError) in try PermutedImage.open(image) }
        let original = try attempt { () throws(RewriteError) in try permuted.original() }
        let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.ofRunnable(original) }
        let request = try attempt { () throws(RewriteError) in try permuted.freshRequest() }
        let problem = try attempt { () throws(RewriteError) in try analysis.problem(request) }
        let scratch = try Scratch()
        let fresh = "\(scratch.path)/image"
        let translations = try translations(permuted, original)
        var run = AttackRun(self, try attack(original, analysis, problem))
        for _ in 0..<boots {
            try attempt { () throws(RewriteError) in
                try RewritePlan.draw(original, request, rewriting: translations)
                    .apply(to: fresh, from: original, tool: kpermVersion)
            }
            let drawn = try attempt { () throws(RewriteError) in try PermutedImage.open(fresh) }
            try await run.attack(.of(fresh, drawn, original), guest.options)
        }
        try run.finish()
    }

    private func runCompressed() async throws {
        let kernel = try attempt { [image] () throws(RewriteError) in try CompressedKernel.open(image) }
        let manifest = try attempt { () throws(RewriteError) in try kernel.manifest() }
        guard manifest?.when != .build else {
            throw CommandFailure.input(
                "\(image): has the same order at every boot, so many boots are one attempt: permute it with --when boot"
            )
        }
        guard manifest != nil || original == nil else {
            throw CommandFailure.input("\(image): not permuted: --original is for what kperm permute made")
        }
        let live = try LiveExpectation(kernel)
        let expectation = live.expectation(isPermuted: manifest != nil, isOff: false)
        let request = try attempt { [image] () throws(RewriteError) in try manifest?.request(file: image) }
        guard let original else {
            let problem = try attempt { () throws(RewriteError) in try request.map(live.analysis.problem) }
            let attack = try attack(kernel.kernel, live.analysis, problem)
            return try await run(attack) { expectation }
        }
        let stock = try attempt { () throws(RewriteError) in try CompressedKernel.open(original) }
        let analysis = try attempt { () throws(RewriteError) in try KernelAnalysis.ofRunnable(stock.kernel) }
        guard analysis.build == live.analysis.build, analysis.release == live.analysis.release,
            analysis.map.virtualRange == live.analysis.map.virtualRange
        else { throw CommandFailure.input("\(original): not the kernel that \(image) was made of") }
        let problem = try attempt { () throws(RewriteError) in try request.map(analysis.problem) }
        let attack = try attack(stock.kernel, analysis, problem)
        try await run(attack) { expectation }
    }

    /// - Parameter problem: nil for a kernel that is not permuted.
    private func attack(
        _ image: borrowing KernelImage, _ analysis: KernelAnalysis, _ problem: PermutationProblem?
    ) throws -> PlannedAttack {
        let way = AttackWay(
            kind: kind, aim: kind.aim ?? target ?? .modprobePath, leaked: leaked, leaksTarget: leaksTarget,
            reads: reads, address: address)
        return try PlannedAttack(way, in: image, analysis, problem)
    }

    private func run(_ planned: PlannedAttack, expectation: () throws -> GuestExpectation) async throws {
        var run = AttackRun(self, planned)
        for _ in 0..<boots { try await run.attack(expectation(), guest.options) }
        try run.finish()
    }
}
