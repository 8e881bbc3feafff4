// SPDX-License-Identifier: MIT

import ArgumentParser
import FoundationEssentials
import KernelRewrite
import PagePermutation
import Report
import SecureRandom
import SecurityEvaluation

struct ReportSecurity: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "security",
        abstract: "Say what permuting a kernel buys, and first what it does not.",
        discussion: """
            IMAGE is an original, or what kperm made of it; TARGETs are what an attacker looks for, as with `kperm \
            evaluate`, whose figures the page has: threat by threat, beside other defences, by class and by target, \
            after leaks and after reading. What a permutation does not protect stands first. A map shows where pages \
            lie, of an order that everybody may know: it is drawn by the image's plan from --seed, never the image's \
            own.

            --attacks FILE... takes what `kperm evaluate attack --json` printed, of stock and of permuted kernels, and \
            sets the rates with their Wilson intervals beside the predictions; boots of the same attack are added up. A \
            file must be of this kernel and plan (kernel's name, class, frames, place in the page and prediction; files \
            of older versions do not name the kernel), or nothing is written.

            FILE.html is one page with everything in it, plots by gnuplot, and asks nothing of a network; FILE.md and \
            FILE.json say the same. -o may be given several times. --from takes a FILE.json and computes nothing. \
            Without -o Markdown is printed. --quick leaves out what takes a minute: counting gadgets, checking the \
            figures by playing attacks, testing orders for randomness.

              kperm report security vmlinuz --attacks stock.*.json permuted.*.json -o security.html -o security.json
              kperm report security vmlinux.kperm modprobe_path --quick
              kperm report security --from security.json -o security.md

            Exit status: 0 written, 1 written, and a check failed (a played figure, a test of randomness, boots that \
            contradict themselves or their prediction), 2 bad usage or input.
            """)

    @Argument(help: "A kernel image, permuted or not.", completion: .file())
    var image: String?

    @Argument(help: "What an attacker looks for. (default: what attacks are known to write)")
    var targets: [String] = []

    @Option(
        parsing: .upToNextOption, help: "What kperm evaluate attack --json printed; IMAGE stands before it.",
        completion: .file())
    var attacks: [String] = []

    @Option(help: "How many pages move together: \(Granule.allCases.map(\.rawValue).joined(separator: ", ")).")
    var granule: Granule?

    @Option(help: ArgumentHelp("Pages that must stay in their frames.", valueName: "pages"))
    var pin: [String] = []

    @Option(help: ArgumentHelp("Pages that must keep their neighbours.", valueName: "pages"))
    var glue: [String] = []

    @Option(help: "The translation table of a running kernel, in binary.", completion: .file())
    var table: String?

    @Option(help: ArgumentHelp("Memory of the machine, in one piece: what KASLR can choose from.", valueName: "MiB"))
    var memory = 4096

    @Option(
        help: ArgumentHelp(
            "What the map, the played attacks and the tested orders are drawn from: 64 hexadecimal digits.",
            valueName: "hex"))
    var seed = String(repeating: "0", count: 2 * Seed.byteCount)

    @Option(help: "Compute nothing: write again what an earlier run wrote as JSON.", completion: .file())
    var from: String?

    @Flag(help: "Count no gadgets, play no attacks, test no orders.")
    var quick = false

    @OptionGroup var destinations: ReportDestinations

    func validate() throws {
        guard (image == nil) == (from != nil) else { throw ValidationError("give an image, or --from FILE.json") }
        let isAsked = !attacks.isEmpty || granule != nil || !pin.isEmpty || !glue.isEmpty || table != nil || quick
        guard from == nil || !isAsked else {
            throw ValidationError("--from takes all from its file: leave out what the report would be computed from")
        }
        guard (64...1 << 24).contains(memory) else { throw ValidationError("--memory: 64 to 16777216 MiB") }
    }

    func run() async throws {
        try await destinations.check()
        let report: SecurityReport =
            if let from {
                try ReportDestinations.read(from, writtenBy: "kperm report security")
            } else {
                try computed(image ?? "")
            }
        try await destinations.write(report, report.document)
        if !report.failures.isEmpty {
            throw CommandFailure.check("\(from ?? image ?? ""): \(report.failures.joined(separator: "; "))")
        }
    }

    private func computed(_ image: String) throws -> SecurityReport {
        let root: Seed
        do { root = try Seed.parse(hexadecimal: seed) } catch { throw CommandFailure.input("--seed: \(error)") }
        let results = try AttackFiles(attacks)
        let isAsked = granule != nil || !pin.isEmpty || !glue.isEmpty
        let subject = try EvaluationSubject.read(
            image, demands: isAsked ? EvaluateFigures.Demands(granule: granule, pin: pin, glue: glue) : nil,
            table: table)
        let attacks = try results.attacks(of: subject)
        let (analysis, problem) = (subject.analysis, subject.problem)
        var evaluation = try EvaluationReport(
            subject, targets: targets, guesses: [1, 10, 100, 1000], leaks: [1, 10, 100, 1000],
            memory: UInt64(memory) << 20)
        var tested: SecurityReport.Randomness?
        if !quick {
            progress("\(image): counting gadgets")
            evaluation.gadgets = subject.gadgets()
        }
        do {
            if !quick {
                progress("\(image): playing")
                evaluation.played = try problem.play(
                    evaluation.classes, PlayLength(draws: 1500, guesses: 30_000_000), seed: root)
                progress("\(image): testing orders")
                tested = SecurityReport.Randomness(
                    try UniformityTally.drawing(Self.testedOrders, pageCount: Self.testedPages, seed: root))
            }
            return SecurityReport(
                tool: kpermVersion, generated: Date.now.ISO8601Format(), architecture: analysis.architecture.name,
                build: analysis.build, evaluation: evaluation, attacks: attacks,
                map: SecurityReport.PageMap(
                    try Permutation.draw(problem, seed: root), of: problem, seed: root.hexadecimal),
                randomness: tested)
        } catch {
            throw CommandFailure.input("\(image): \(error)")
        }
    }

    private static let testedOrders = 20_000
    private static let testedPages = 4096
}

extension SecurityReport.Randomness {
    fileprivate init(_ tally: UniformityTally) {
        self.init(draws: tally.draws, pages: tally.pageCount, limit: RandomnessTest.limit, tests: tally.tests)
    }
}

extension SecurityReport.PageMap {
    /// More pages than this would be a blot.
    private static let mostPages = 2500

    fileprivate init(_ order: Permutation, of problem: PermutationProblem, seed: String) {
        let step = (problem.pageCount + Self.mostPages - 1) / Self.mostPages
        let pages = Array(stride(from: 0, to: problem.pageCount, by: step))
        self.init(
            seed: seed, step: step, frames: pages.map { Int(order.forward[$0]) },
            pageClasses: pages.map { problem.movingClass(of: $0) ?? -1 },
            structure: problem.structure(of: order.forward))
    }
}
