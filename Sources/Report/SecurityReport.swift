// SPDX-License-Identifier: MIT

// Everything that `kperm report security` says, as values: what is printed as JSON,
// and what the page and the Markdown are made from. All of it was computed, drawn
// or seen; nothing here is a constant of anybody's.

public import SecurityEvaluation

/// What permuting a kernel buys, and what it does not.
public struct SecurityReport: Codable, Equatable, Sendable {
    /// One attack on running kernels, all boots of it together.
    public struct Attack: Codable, Equatable, Sendable {
        /// As `kperm evaluate attack --kind` names it.
        public let kind: String
        /// What is done, in words.
        public let words: String
        /// The symbol.
        public let target: String
        public let pageClass: String
        /// Whether the kernels were permuted; stock ones show what the attack is worth.
        public let isPermuted: Bool
        /// Frames that may hold the page.
        public let frames: Int
        /// Pages whose place was known.
        public let leaked: Int
        /// Frames that might be read.
        public let reads: Int
        /// How likely it is to work; an approximation where `isExact` is false.
        public let prediction: Double
        public let isExact: Bool
        public let count: HitCount
        /// Of the misses, those in which the guest crashed.
        public let crashed: Int
        /// Those in which the kernel's own mapping did not allow the write.
        public let refused: Int
        /// Those in which nothing that was read was the page.
        public let notFound: Int
        /// Boots that show what cannot be.
        public let contradictions: Int
        public let secondsPerBoot: Double
        /// What the boots were read from.
        public let files: [String]
        /// Whether all files name the kernel, so that it is known to be this one.
        public let namesKernel: Bool

        public init(
            kind: String, words: String, target: String, pageClass: String, isPermuted: Bool, frames: Int, leaked: Int,
            reads: Int, prediction: Double, isExact: Bool, count: HitCount, crashed: Int, refused: Int, notFound: Int,
            contradictions: Int, secondsPerBoot: Double, files: [String], namesKernel: Bool
        ) {
            self.kind = kind
            self.words = words
            self.target = target
            self.pageClass = pageClass
            self.isPermuted = isPermuted
            self.frames = frames
            self.leaked = leaked
            self.reads = reads
            self.prediction = prediction
            self.isExact = isExact
            self.count = count
            self.crashed = crashed
            self.refused = refused
            self.notFound = notFound
            self.contradictions = contradictions
            self.secondsPerBoot = secondsPerBoot
            self.files = files
            self.namesKernel = namesKernel
        }
    }

    /// Where an order that everybody may know, drawn by the same plan, puts pages.
    public struct PageMap: Codable, Equatable, Sendable {
        /// What it was drawn from, as was all else that was drawn.
        public let seed: String
        /// Every so many pages one is in the map, the first on.
        public let step: Int
        /// Of the pages in the map.
        public let frames: [Int]
        /// Of the pages in the map, a number in `classes`; -1 for a page that stays.
        public let pageClasses: [Int]
        /// What is left of the linear order in it.
        public let structure: [ClassStructure]

        public init(
            seed: String, step: Int, frames: [Int], pageClasses: [Int], structure: [ClassStructure]
        ) {
            self.seed = seed
            self.step = step
            self.frames = frames
            self.pageClasses = pageClasses
            self.structure = structure
        }
    }

    /// Orders drawn by the same generator, tested.
    public struct Randomness: Codable, Equatable, Sendable {
        public let draws: Int
        /// Of each order.
        public let pages: Int
        /// Below this a test has failed.
        public let limit: Double
        public let tests: [RandomnessTest]

        public init(
            draws: Int, pages: Int, limit: Double, tests: [RandomnessTest]
        ) {
            self.draws = draws
            self.pages = pages
            self.limit = limit
            self.tests = tests
        }
    }

    /// The version of kperm.
    public let tool: String
    /// When, in ISO 8601.
    public let generated: String
    public let architecture: String
    public let build: String?
    public let evaluation: EvaluationReport
    /// Stock kernels first.
    public let attacks: [Attack]
    public let map: PageMap
    /// Nil where it was left out.
    public let randomness: Randomness?

    public init(
        tool: String, generated: String, architecture: String, build: String?, evaluation: EvaluationReport,
        attacks: [Attack], map: PageMap, randomness: Randomness?
    ) {
        self.tool = tool
        self.generated = generated
        self.architecture = architecture
        self.build = build
        self.evaluation = evaluation
        self.attacks = attacks
        self.map = map
        self.randomness = randomness
    }
}

extension SecurityReport.Attack {
    /// Wilson's interval holds the prediction.
    public var holdsPrediction: Bool { count.interval.contains(prediction) }

    /// So many hits or more, or so many or fewer, would come by chance less than once in a million times.
    public var isUnbelievable: Bool { count.chance(at: prediction) < HitCount.unbelievable }
}

extension SecurityReport {
    /// What did not come out as computed; each is a reason to trust none of it.
    public var failures: [String] {
        var failures: [String] = []
        let played = (evaluation.played ?? []).count { !$0.agrees }
        if played > 0 {
            failures.append(
                "\(played) played figures lie more than \(PlayedFigure.tolerance) bits from what was computed")
        }
        let failed = (randomness?.tests ?? []).count { !$0.passes }
        if failed > 0 { failures.append("orders failed \(failed) tests of randomness") }
        for attack in attacks {
            if attack.contradictions > 0 {
                failures.append("\(attack.words): \(attack.contradictions) boots contradict themselves")
            }
            if attack.isUnbelievable {
                failures.append(
                    "\(attack.words): \(attack.count.hits) hits of \(attack.count.trials) are not what "
                        + "\(attack.prediction) predicts")
            }
        }
        return failures
    }
}
