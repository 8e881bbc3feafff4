// SPDX-License-Identifier: MIT

// The same target under the same threats, for this image with other defences and
// with this one. Each figure is computed from what stands beside it: the slots of
// KASLR for this image, its functions for FGKASLR, the object files it was linked
// from for a kernel that is linked anew in another order at every boot. A figure is
// what the first attempt faces, in bits; what one leak does to it stands apart.

/// What an attacker can do.
public enum Threat: String, CaseIterable, Codable, Sendable {
    case blindWrite = "blind write to a physical page"
    case deviceWrite = "write-only DMA"
    case readWrite = "physical reads and writes"
    case linearAlias = "write through the linear map at a computed address"
    case rowhammer = "Rowhammer aimed at a frame"
    case virtualLeak = "one leaked virtual address, then virtual gadgets"
}

/// What a defence leaves an attacker to guess.
public struct DefenceRow: Codable, Equatable, Sendable {
    public static let none = "none"
    public static let physicalKASLR = "Linux KASLR, physical"
    public static let kperm = "kperm"
    public static let kpermWithKASLR = "kperm with physical KASLR"

    public let defence: String
    /// What the figures are computed from.
    public let parameters: String
    /// Bits of the first attempt, by threat; nil where the image does not say what they are computed from.
    public let bits: [String: Double]?
    /// Bits that are left for another target of the same kind once the place of one page or function has leaked.
    public let bitsAfterOneLeak: Double?
    public let limits: String
}

/// What the rows are computed from, of one image.
public struct ComparisonInput: Sendable {
    public var kaslr: KASLRSlots
    /// Places of the linear map (CONFIG_RANDOMIZE_MEMORY); 1 where it does not move.
    public var linearMap: Int
    /// Functions that FGKASLR would put in order; 0 where that is not known.
    public var functions: Int
    /// Object files of the link; 0 where the image does not name them.
    public var objectFiles: Int
    /// Whether the page looked for holds code: FGKASLR moves nothing else.
    public var targetIsCode: Bool
    /// The frames that may hold that page.
    public var target: PlaceDistribution
    /// Bits of its place in memory where the image's position is not known either.
    public var bitsWithoutPosition: Double
    /// Bits of the place of another page of its class once one has leaked.
    public var bitsAfterOneLeak: Double

    public init(
        kaslr: KASLRSlots, linearMap: Int, functions: Int, objectFiles: Int, targetIsCode: Bool,
        target: PlaceDistribution, bitsWithoutPosition: Double, bitsAfterOneLeak: Double
    ) {
        self.kaslr = kaslr
        self.linearMap = linearMap
        self.functions = functions
        self.objectFiles = objectFiles
        self.targetIsCode = targetIsCode
        self.target = target
        self.bitsWithoutPosition = bitsWithoutPosition
        self.bitsAfterOneLeak = bitsAfterOneLeak
    }
}

extension DefenceRow {
    private static func bits(_ count: Int) -> Double { count > 1 ? Double(count).log2 : 0 }

    private init(
        _ defence: String, _ parameters: String, isKnown: Bool = true, physical: Double, alias: Double? = nil,
        reading: Double = 0,
        virtual: Double = 0, afterLeak: Double = 0, limits: String
    ) {
        self.defence = defence
        self.parameters = parameters
        let all: [(Threat, Double)] = [
            (.blindWrite, physical), (.deviceWrite, physical), (.readWrite, reading),
            (.linearAlias, alias ?? physical), (.rowhammer, physical), (.virtualLeak, virtual),
        ]
        bits = isKnown ? Dictionary(uniqueKeysWithValues: all.map { ($0.rawValue, $1.rounded6) }) : nil
        bitsAfterOneLeak = isKnown ? afterLeak.rounded6 : nil
        self.limits = limits
    }

    /// The rows of one target.
    public static func all(_ input: ComparisonInput) -> [DefenceRow] {
        let kaslr = input.kaslr
        let physical = bits(kaslr.physical)
        func linear(_ physical: Double) -> Double {
            kaslr.linearBits(physicalBits: physical, linearMap: input.linearMap)
        }
        let functions = bits(input.functions)
        let target = input.targetIsCode ? functions : 0
        let objects = bits(input.objectFiles)
        let frames = input.target.minEntropy
        let left = input.bitsAfterOneLeak
        let memory = "\(kaslr.memory >> 20) MiB of memory in one piece"
        let map = input.linearMap > 1 ? "the linear map in one of \(input.linearMap) places" : "the linear map known"
        return [
            DefenceRow(
                none, "one load address", physical: 0,
                limits: "every address stands in a public file"),
            DefenceRow(
                physicalKASLR, "\(kaslr.physical) slots, \(kaslr.alignment >> 10) KiB apart, \(memory); \(map)",
                physical: physical, alias: linear(physical),
                limits: "one known physical address gives all: everything moves together"),
            DefenceRow(
                "Linux KASLR, virtual", "\(kaslr.virtual) slots, \(kaslr.alignment >> 10) KiB apart; \(map)",
                physical: 0,
                alias: bits(input.linearMap),
                limits: "physical addresses stay known; one leaked virtual address gives all others"),
            DefenceRow(
                "FGKASLR",
                input.functions > 0
                    ? "\(input.functions) functions in random order, with physical KASLR of \(memory)"
                    : "the image does not name its functions",
                isKnown: input.functions > 0, physical: physical + target, alias: linear(physical + target),
                virtual: functions, afterLeak: target,
                limits:
                    "data does not move, nor does code that is not put in order (assembly, exception entries); with KASLR "
                    + "the figure for code is an upper bound"),
            DefenceRow(
                "OpenBSD KARL",
                input.objectFiles > 0
                    ? "\(input.objectFiles) object files linked in random order, one place for the image"
                    : "the image does not name the object files it was linked from",
                isKnown: input.objectFiles > 0, physical: objects, virtual: objects, afterLeak: objects,
                limits: "one leaked address gives its whole object file; the order lasts until the next boot"),
            DefenceRow(
                kperm, "\(input.target.candidates) frames that may hold the page", physical: frames,
                afterLeak: left,
                limits:
                    "virtual addresses stay (no gadget moves), contents can be read and known again, pinned pages stay"),
            DefenceRow(
                kpermWithKASLR,
                "\(input.target.candidates) frames, \(kaslr.physical) slots, some of which share places, \(memory); \(map)",
                physical: input.bitsWithoutPosition, alias: linear(input.bitsWithoutPosition), afterLeak: left,
                limits: "the same, but that pinned pages move with the image"),
        ]
    }
}
