// SPDX-License-Identifier: MIT

// Everything that `kperm report overhead` says, as values: what is printed as JSON,
// and what the page and the Markdown are made from. All of it was measured, counted
// or simulated; nothing here is a constant of anybody's.

/// What permuting a kernel costs.
public struct OverheadReport: Codable, Equatable, Sendable {
    /// The image that was permuted.
    public struct Kernel: Codable, Equatable, Sendable {
        public let file: String
        /// vmlinux or vmlinuz.
        public let format: String
        public let architecture: String
        public let release: String?
        public let build: String?
        /// In hexadecimal digits.
        public let buildID: String?
        /// Of the whole image.
        public let pages: Int
        /// Of its allocated sections, less those that stay by nature.
        public let counted: Int
        /// Of the counted pages, those that must stay.
        public let pinned: Int

        public init(
            file: String, format: String, architecture: String, release: String?, build: String?, buildID: String?,
            pages: Int, counted: Int, pinned: Int
        ) {
            self.file = file
            self.format = format
            self.architecture = architecture
            self.release = release
            self.build = build
            self.buildID = buildID
            self.pages = pages
            self.counted = counted
            self.pinned = pinned
        }
    }

    /// What the times were measured on.
    public struct Machine: Codable, Equatable, Sendable {
        public let processor: String
        /// Of the time-stamp counter.
        public let ticksPerNanosecond: Double
        /// By which means pages of 2 MB were got, or why there were none.
        public let largePages: String

        public init(processor: String, ticksPerNanosecond: Double, largePages: String) {
            self.processor = processor
            self.ticksPerNanosecond = ticksPerNanosecond
            self.largePages = largePages
        }
    }

    /// How the figures were made.
    public struct Method: Codable, Equatable, Sendable {
        /// Orders of each granule.
        public let permutations: Int
        /// All other seeds are derived from it.
        public let rootSeed: String
        /// One an order.
        public let seeds: [String]
        /// Short measurements, and caches not simulated.
        public let quick: Bool
        /// Whether caches were simulated.
        public let caches: Bool

        public init(permutations: Int, rootSeed: String, seeds: [String], quick: Bool, caches: Bool) {
            self.permutations = permutations
            self.rootSeed = rootSeed
            self.seeds = seeds
            self.quick = quick
            self.caches = caches
        }
    }

    /// What is permuted with a granule.
    public struct GranuleRow: Codable, Equatable, Sendable {
        public let granule: String
        /// Pages that may move.
        public let movable: Int
        /// Pages.
        public let moved: Estimate
        /// Pieces of the image whose frames follow one another.
        public let runs: Estimate
        /// log2 of the places that one counted page may have, in the mean; 0 for one that stays.
        public let targetBits: Double
        /// log2 of the number of orders.
        public let jointBits: Double

        public init(
            granule: String, movable: Int, moved: Estimate, runs: Estimate, targetBits: Double, jointBits: Double
        ) {
            self.granule = granule
            self.movable = movable
            self.moved = moved
            self.runs = runs
            self.targetBits = targetBits
            self.jointBits = jointBits
        }
    }

    /// What a permuted file is longer by.
    public struct ImageDelta: Codable, Equatable, Sendable {
        public let form: String
        /// What the compressed size is of.
        public let compressor: String
        /// Of the original, in bytes.
        public let raw: Int
        public let permutedRaw: Estimate
        /// Of the original, in bytes.
        public let compressed: Int
        public let permutedCompressed: Estimate

        public init(
            form: String, compressor: String, raw: Int, permutedRaw: Estimate, compressed: Int,
            permutedCompressed: Estimate
        ) {
            self.form = form
            self.compressor = compressor
            self.raw = raw
            self.permutedRaw = permutedRaw
            self.compressed = compressed
            self.permutedCompressed = permutedCompressed
        }
    }

    /// What a permuted kernel keeps besides.
    public struct Memory: Codable, Equatable, Sendable {
        /// The translation table, both ways.
        public let tableBytes: Int
        /// Page tables for single pages.
        public let pageTablePages: Int
        /// To draw the order from a seed, on this machine.
        public let drawMilliseconds: Estimate
        /// To move as many pages along its cycles, on this machine, in a process.
        public let moveMilliseconds: Estimate

        public init(tableBytes: Int, pageTablePages: Int, drawMilliseconds: Estimate, moveMilliseconds: Estimate) {
            self.tableBytes = tableBytes
            self.pageTablePages = pageTablePages
            self.drawMilliseconds = drawMilliseconds
            self.moveMilliseconds = moveMilliseconds
        }
    }

    /// A way to look an address up, in nanoseconds a lookup.
    public struct Lookup: Codable, Equatable, Sendable {
        public let strategy: String
        public let tableBytes: Int
        /// That one lookup reads at most.
        public let cacheLines: Int
        public let pattern: String
        /// throughput or latency.
        public let kind: String
        /// warm or evicted.
        public let caches: String
        public let p50: Estimate
        /// Nil where there were too few batches.
        public let p99: Estimate?
        public let p999: Estimate?

        public init(
            strategy: String, tableBytes: Int, cacheLines: Int, pattern: String, kind: String, caches: String,
            p50: Estimate, p99: Estimate?, p999: Estimate?
        ) {
            self.strategy = strategy
            self.tableBytes = tableBytes
            self.cacheLines = cacheLines
            self.pattern = pattern
            self.kind = kind
            self.caches = caches
            self.p50 = p50
            self.p99 = p99
            self.p999 = p999
        }
    }

    /// Of a curve.
    public struct Point: Codable, Equatable, Sendable {
        public let x: Double
        public let y: Double

        public init(x: Double, y: Double) {
            self.x = x
            self.y = y
        }
    }

    /// The distribution of latencies over the batches of all orders.
    public struct Curve: Codable, Equatable, Sendable {
        public let strategy: String
        /// warm or evicted.
        public let caches: String
        /// Nanoseconds a lookup, and the share of batches that took no longer.
        public let points: [Point]

        public init(strategy: String, caches: String, points: [Point]) {
            self.strategy = strategy
            self.caches = caches
            self.points = points
        }
    }

    /// What a reference takes on this machine by the size of the mapping, in nanoseconds.
    public struct Mapping: Codable, Equatable, Sendable {
        /// data or code.
        public let reference: String
        public let pattern: String
        /// In pages of 4 KB.
        public let small: Estimate
        /// In pages of 2 MB.
        public let large: Estimate
        public let ratio: Estimate

        public init(reference: String, pattern: String, small: Estimate, large: Estimate, ratio: Estimate) {
            self.reference = reference
            self.pattern = pattern
            self.small = small
            self.large = large
            self.ratio = ratio
        }
    }

    /// A place that translates addresses.
    public struct Site: Codable, Equatable, Sendable {
        public let place: String
        public let translates: String
        public let executions: Int

        public init(place: String, translates: String, executions: Int) {
            self.place = place
            self.translates = translates
            self.executions = executions
        }
    }

    /// How often a kernel translated addresses, from a trace.
    public struct Workload: Codable, Equatable, Sendable {
        public let trace: String
        public let name: String
        /// What the counts are of.
        public let counted: String
        /// Of the trace.
        public let references: Int
        /// Executed by the kernel, in what was counted.
        public let instructions: Int
        /// Executed outside the kernel meanwhile; 0 where they were not counted.
        public let userInstructions: Int
        /// The rate that a second is taken from.
        public let instructionsPerSecond: Double
        public let systemCalls: Int
        /// Translations of addresses of the image.
        public let image: Int
        /// Of the linear map; nil where they were not counted.
        public let linear: Int?
        /// Of constants, which are pinned.
        public let constants: Int
        public let unclear: Int
        /// Those that were executed, most often first.
        public let sites: [Site]

        public init(
            trace: String, name: String, counted: String, references: Int, instructions: Int, userInstructions: Int,
            instructionsPerSecond: Double, systemCalls: Int, image: Int, linear: Int?, constants: Int, unclear: Int,
            sites: [Site]
        ) {
            self.trace = trace
            self.name = name
            self.counted = counted
            self.references = references
            self.instructions = instructions
            self.userInstructions = userInstructions
            self.instructionsPerSecond = instructionsPerSecond
            self.systemCalls = systemCalls
            self.image = image
            self.linear = linear
            self.constants = constants
            self.unclear = unclear
            self.sites = sites
        }
    }

    /// Lookups of a workload times what one of them takes longer than today's.
    public struct Cost: Codable, Equatable, Sendable {
        public let workload: String
        /// Nil without system calls.
        public let lookupsPerSystemCall: Double?
        public let lookupsPerSecond: Double
        public let warm: Share
        public let evicted: Share
        /// If translations of the linear map paid as much, too.
        public let allWarm: Share?

        public init(
            workload: String, lookupsPerSystemCall: Double?, lookupsPerSecond: Double, warm: Share, evicted: Share,
            allWarm: Share?
        ) {
            self.workload = workload
            self.lookupsPerSystemCall = lookupsPerSystemCall
            self.lookupsPerSecond = lookupsPerSecond
            self.warm = warm
            self.evicted = evicted
            self.allWarm = allWarm
        }
    }

    /// What the lookups of a workload cost.
    public struct Share: Codable, Equatable, Sendable {
        public let nanosecondsPerSystemCall: Estimate?
        /// Of the kernel's time.
        public let percent: Estimate

        public init(nanosecondsPerSystemCall: Estimate?, percent: Estimate) {
            self.nanosecondsPerSystemCall = nanosecondsPerSystemCall
            self.percent = percent
        }
    }

    /// A workload before a processor's model, for 1000 instructions.
    public struct Simulation: Codable, Equatable, Sendable {
        public let workload: String
        public let model: String
        public let granule: String
        /// Of the first-level buffers.
        public let instructionMisses: Estimate
        public let dataMisses: Estimate
        /// Misses of all levels.
        public let walks: Estimate
        public let imageWalks: Estimate
        public let walkCycles: Estimate
        /// And what hits in the second level cost.
        public let translationCycles: Estimate
        /// Against blocks of 2M; an upper estimate.
        public let slowdownPercent: Estimate

        public init(
            workload: String, model: String, granule: String, instructionMisses: Estimate, dataMisses: Estimate,
            walks: Estimate, imageWalks: Estimate, walkCycles: Estimate, translationCycles: Estimate,
            slowdownPercent: Estimate
        ) {
            self.workload = workload
            self.model = model
            self.granule = granule
            self.instructionMisses = instructionMisses
            self.dataMisses = dataMisses
            self.walks = walks
            self.imageWalks = imageWalks
            self.walkCycles = walkCycles
            self.translationCycles = translationCycles
            self.slowdownPercent = slowdownPercent
        }
    }

    /// A processor's model, and the numbers that its slowdown comes from.
    public struct Model: Codable, Equatable, Sendable {
        public let name: String
        public let title: String
        public let numbers: [Number]

        public init(name: String, title: String, numbers: [Number]) {
            self.name = name
            self.title = title
            self.numbers = numbers
        }
    }

    /// In processor cycles.
    public struct Number: Codable, Equatable, Sendable {
        public let name: String
        public let value: Double
        public let source: String

        public init(name: String, value: Double, source: String) {
            self.name = name
            self.value = value
            self.source = source
        }
    }

    /// The version of kperm.
    public let tool: String
    /// When, in ISO 8601.
    public let generated: String
    public let kernel: Kernel
    public let machine: Machine
    public let method: Method
    /// The smallest last.
    public let granules: [GranuleRow]
    public let images: [ImageDelta]
    public let memory: Memory
    /// The lookup that is today's kernel's.
    public let baseline: String
    /// The lookup that the costs are of.
    public let candidate: String
    public let lookups: [Lookup]
    public let curves: [Curve]
    public let mappings: [Mapping]
    public let workloads: [Workload]
    public let costs: [Cost]
    /// By workload, model and granule.
    public let simulations: [Simulation]
    public let models: [Model]

    public init(
        tool: String, generated: String, kernel: Kernel, machine: Machine, method: Method, granules: [GranuleRow],
        images: [ImageDelta], memory: Memory, baseline: String, candidate: String, lookups: [Lookup],
        curves: [Curve], mappings: [Mapping], workloads: [Workload], costs: [Cost], simulations: [Simulation],
        models: [Model]
    ) {
        self.tool = tool
        self.generated = generated
        self.kernel = kernel
        self.machine = machine
        self.method = method
        self.granules = granules
        self.images = images
        self.memory = memory
        self.baseline = baseline
        self.candidate = candidate
        self.lookups = lookups
        self.curves = curves
        self.mappings = mappings
        self.workloads = workloads
        self.costs = costs
        self.simulations = simulations
        self.models = models
    }
}
