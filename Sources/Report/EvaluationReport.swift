// SPDX-License-Identifier: MIT

// What `kperm evaluate` computes of one image, as values: what it prints as JSON, and
// what the report of security is made from. What a permutation does not protect
// stands first.

public import SecurityEvaluation

/// What a permutation of one image buys.
public struct EvaluationReport: Codable, Equatable, Sendable {
    /// The chance of success within so many guesses.
    public struct Chance: Codable, Equatable, Sendable {
        public let guesses: Int
        /// Where the same order is there for the next guess.
        public let sameOrder: Double
        /// Where every miss draws a new one.
        public let freshOrder: Double

        public init(
            guesses: Int, sameOrder: Double, freshOrder: Double
        ) {
            self.guesses = guesses
            self.sameOrder = sameOrder
            self.freshOrder = freshOrder
        }
    }

    /// Something that an attacker looks for.
    public struct Target: Codable, Equatable, Sendable {
        public let name: String
        /// Why an attacker wants it; nil for what was asked for.
        public let use: String?
        public let address: String
        public let page: Int
        public let pageClass: String?
        /// Frames that may hold the page.
        public let candidates: Int
        public let targetBits: Double
        public let minEntropy: Double
        /// With the image's own position to guess as well.
        public let bitsWithoutPosition: Double
        public let expectedGuessesSameOrder: Double
        public let expectedGuessesFreshOrder: Double
        /// Whether glued runs make the figures bounds on the safe side.
        public let isBound: Bool
        public let chances: [Chance]
        /// Why the page stays, if it does.
        public let stays: String?

        public init(
            name: String, use: String?, address: String, page: Int, pageClass: String?, candidates: Int,
            targetBits: Double, minEntropy: Double, bitsWithoutPosition: Double, expectedGuessesSameOrder: Double,
            expectedGuessesFreshOrder: Double, isBound: Bool, chances: [Chance], stays: String?
        ) {
            self.name = name
            self.use = use
            self.address = address
            self.page = page
            self.pageClass = pageClass
            self.candidates = candidates
            self.targetBits = targetBits
            self.minEntropy = minEntropy
            self.bitsWithoutPosition = bitsWithoutPosition
            self.expectedGuessesSameOrder = expectedGuessesSameOrder
            self.expectedGuessesFreshOrder = expectedGuessesFreshOrder
            self.isBound = isBound
            self.chances = chances
            self.stays = stays
        }
    }

    /// What leaks leave of one class.
    public struct ClassLeaks: Codable, Equatable, Sendable {
        public let name: String
        public let leaks: [LeakFigures]

        public init(
            name: String, leaks: [LeakFigures]
        ) {
            self.name = name
            self.leaks = leaks
        }
    }

    /// Pages that stay, and what is on them.
    public struct Exposed: Codable, Equatable, Sendable {
        public let reason: String
        public let pages: Int
        public let evidence: [String]

        public init(
            reason: String, pages: Int, evidence: [String]
        ) {
            self.reason = reason
            self.pages = pages
            self.evidence = evidence
        }
    }

    public let file: String
    public let release: String?
    /// original, drawn at build or drawn at boot.
    public let state: String
    public let granule: String
    public let pages: Int
    /// Of the image's sections, less those that stay by nature.
    public let counted: Int
    /// What it does not buy.
    public let limits: [String]
    public let classes: [ClassFigures]
    public let demands: [DemandFigures]
    public let targets: [Target]
    public let leaks: [ClassLeaks]
    public let fingerprints: [FingerprintFigures]
    public let kaslr: KASLRSlots
    public let comparison: [DefenceRow]
    /// The target that the defences are compared for.
    public let comparedTarget: String
    public let exposed: [Exposed]
    /// Of the order in the image or the table; nil where every boot draws one.
    public let structure: [ClassStructure]?
    /// Nil where they were not counted.
    public var gadgets: GadgetFigures?
    /// Nil where nothing was played.
    public var played: [PlayedFigure]?

    public init(
        file: String, release: String?, state: String, granule: String, pages: Int, counted: Int, limits: [String],
        classes: [ClassFigures], demands: [DemandFigures], targets: [Target], leaks: [ClassLeaks],
        fingerprints: [FingerprintFigures], kaslr: KASLRSlots, comparison: [DefenceRow], comparedTarget: String,
        exposed: [Exposed], structure: [ClassStructure]?, gadgets: GadgetFigures? = nil, played: [PlayedFigure]? = nil
    ) {
        self.file = file
        self.release = release
        self.state = state
        self.granule = granule
        self.pages = pages
        self.counted = counted
        self.limits = limits
        self.classes = classes
        self.demands = demands
        self.targets = targets
        self.leaks = leaks
        self.fingerprints = fingerprints
        self.kaslr = kaslr
        self.comparison = comparison
        self.comparedTarget = comparedTarget
        self.exposed = exposed
        self.structure = structure
        self.gadgets = gadgets
        self.played = played
    }
}
