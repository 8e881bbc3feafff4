// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import KernelImage
import KernelRewrite
import PagePermutation
import Report
import SecureRandom
import SecurityEvaluation

struct EvaluateFigures: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "figures",
        abstract: "Compute what an attacker has to guess.",
        discussion: """
            IMAGE is an original, or what kperm made of it. For each page class and each TARGET (a symbol, \
            SYMBOL+OFFSET or 0xADDRESS; without, what attacks are known to write) it says among how many frames the \
            page may be, the bits that one guess faces, how many guesses that takes, what leaks and what reading \
            physical memory leave of it, and what pins, glue, granule and classes cost. Beside it stand other defences \
            with the same image and the same target.

            The attacker knows the public image, all pins, and where KASLR put the image, unless it says otherwise: \
            the order alone is measured. Pages that stay are no candidates. "with KASLR" is for somebody who does not know \
            the image's position either; that is less than both together, for one frame of --memory may hold the page with \
            the image in several places. The row of a kernel that is linked anew (KARL) needs an image that names its object \
            files: the vmlinux of the debug package.

            bits: log2 of the frames that may hold the page; min-entropy: what the best first guess faces; guesses: on \
            average, none tried twice; fresh order: if every miss draws another one. >= stands before lower bounds, where \
            pages are glued.

            --play checks the figures by attacks on orders that are really drawn. --table FILE takes the order of a \
            running kernel (kperm table --from-memory MEMORY --format bin). --gadgets counts the code that an attacker \
            with virtual addresses finds where it always was; that takes some seconds.

            Exit status: 0 computed, 1 a played figure does not agree, 2 bad usage or input.

              kperm evaluate vmlinuz
              kperm evaluate vmlinux.kperm modprobe_path core_pattern --leaks 1,100
              kperm evaluate vmlinux --granule 16K --play --json
            """)

    @Argument(help: "A kernel image, permuted or not.", completion: .file())
    var image: String

    @Argument(help: "What an attacker looks for.")
    var targets: [String] = []

    @Option(help: "How many pages move together: \(Granule.allCases.map(\.rawValue).joined(separator: ", ")).")
    var granule: Granule?

    @Option(help: ArgumentHelp("Pages that must stay in their frames.", valueName: "pages"))
    var pin: [String] = []

    @Option(help: ArgumentHelp("Pages that must keep their neighbours.", valueName: "pages"))
    var glue: [String] = []

    @Option(help: "The translation table of a running kernel, in binary.", completion: .file())
    var table: String?

    @Option(help: ArgumentHelp("Numbers of guesses to give the chance of success for.", valueName: "numbers"))
    var guesses: Numbers = Numbers(all: [1, 10, 100, 1000])

    @Option(
        help: ArgumentHelp(
            "Numbers of pages of a class whose frames leaked. (default: 1,10,100 where there are as many)",
            valueName: "numbers"))
    var leaks: Numbers?

    @Option(help: ArgumentHelp("Memory of the machine, in one piece: what KASLR can choose from.", valueName: "MiB"))
    var memory: Int = 4096

    @Flag(help: "Count the gadgets in the image's code, none of which moves for virtual addresses.")
    var gadgets = false

    @Flag(help: "Check the figures by playing attacks.")
    var play = false

    @Option(help: ArgumentHelp("The seed that is played with: 64 hexadecimal digits.", valueName: "hex"))
    var seed: String?

    @Flag(help: "Print JSON.")
    var json = false

    /// Numbers separated by commas.
    struct Numbers: ExpressibleByArgument {
        let all: [Int]

        init(all: [Int]) { self.all = all }

        init?(argument: String) {
            let numbers = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
            guard numbers.allSatisfy({ ($0 ?? -1) >= 0 }) else { return nil }
            all = numbers.compactMap { $0 }
        }

        var defaultValueDescription: String { all.map(String.init).joined(separator: ",") }
    }

    /// What is asked of an original.
    struct Demands {
        var granule: Granule?
        var pin: [String]
        var glue: [String]

        func request(for image: borrowing KernelImage) throws -> Request {
            var request = Request(granule: granule ?? .page4K)
            if pin.isEmpty && glue.isEmpty { return request }
            let map = try attempt { () throws(RewriteError) in try KernelAnalysis.of(image) }.map
            try request.demand(pins: pin, glue: glue, by: Addresses(image), in: image, map)
            return request
        }
    }

    func validate() throws {
        guard (64...1 << 24).contains(memory) else { throw ValidationError("--memory: 64 to 16777216 MiB") }
        if seed != nil, !play { throw ValidationError("--seed is for --play") }
    }

    func run() throws {
        let isAsked = granule != nil || !pin.isEmpty || !glue.isEmpty
        let subject = try EvaluationSubject.read(
            image, demands: isAsked ? Demands(granule: granule, pin: pin, glue: glue) : nil, table: table)
        var report = try EvaluationReport(
            subject, targets: targets, guesses: guesses.all, leaks: leaks?.all ?? [1, 10, 100],
            memory: UInt64(memory) << 20)
        let most = report.classes.map(\.candidates).max() ?? 0
        if let leaked = leaks?.all.first(where: { $0 > most }) {
            throw CommandFailure.input("--leaks \(leaked): no class has more than \(most) places to know")
        }
        if gadgets {
            guard subject.kernel.header.machine == 62 else {
                throw CommandFailure.input("\(image): --gadgets reads the code of x86-64 kernels only")
            }
            progress("\(image): counting gadgets")
            report.gadgets = subject.gadgets()
        }
        if play {
            guard report.classes.contains(where: { $0.candidates > 1 && !$0.isBound }) else {
                throw CommandFailure.input(
                    "\(image): --play: no class with exact figures has pages that can trade places")
            }
            progress("\(image): playing")
            let seed = try playSeed()
            do {
                report.played = try subject.problem.play(
                    report.classes, PlayLength(draws: 1500, guesses: 100_000_000), seed: seed)
            } catch {
                throw CommandFailure.input("\(error)")
            }
        }
        if json { try printJSON(report) } else { report.print() }
        let wrong = (report.played ?? []).count { !$0.agrees }
        if wrong > 0 {
            throw CommandFailure.check(
                "\(image): \(wrong) played figures lie more than \(PlayedFigure.tolerance) bits from what was computed")
        }
    }

    private func playSeed() throws -> Seed {
        do {
            if let seed { return try Seed.parse(hexadecimal: seed) }
            return try Seed.random()
        } catch {
            throw CommandFailure.input("--seed: \(error)")
        }
    }
}
