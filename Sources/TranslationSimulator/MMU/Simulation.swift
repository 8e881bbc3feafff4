// SPDX-License-Identifier: MIT

// All processors and layouts that a trace is led past in one pass. Each
// processor of the machine that was traced has buffers and caches of its own,
// the last level too.

import Addressing

/// What was counted for one model and one layout, all processors together.
public struct SimulationResult: Sendable {
    /// Indices of what the simulation was given.
    public let model: Int
    public let layout: Int
    public let counts: Counts
}

/// A trace's sums.
public struct TraceTotals: Equatable, Sendable {
    public internal(set) var references = 0
    public internal(set) var instructions: UInt64 = 0
    /// Executed and not recorded.
    public internal(set) var skippedInstructions: UInt64 = 0
    public internal(set) var systemCalls = 0
    public internal(set) var addressSpaceSwitches = 0
    /// Processors that were seen.
    public internal(set) var processors = 1
    /// By site, in the header's order.
    public internal(set) var siteExecutions: [Int]
}

/// Processors before memory, fed batch by batch.
public struct Simulation: ~Copyable {
    public static let mostProcessors = 64
    /// Of buffers, caches and page tables, all processors, models and layouts together.
    public static let mostBytes = 2 << 30

    private let models: [ProcessorModel]
    private let layouts: [Layout]
    private let space: AddressSpace
    private let withCaches: Bool

    public private(set) var totals: TraceTotals
    /// By processor, in the order they were seen; of each all models, and of each model all layouts.
    private var machines: [[Machine]] = []
    private var seen: [Int: Int] = [:]
    private var current = 0
    private var hasBegun = false
    private let bytesOfProcessor: Int
    private var bytes: Int

    /// - Parameters:
    ///   - withCaches: also simulates caches, where a model has them; all references go through them, those of walks too.
    ///   - sites: how many translation sites the trace knows.
    public init(
        models: [ProcessorModel], layouts: [Layout], space: AddressSpace = AddressSpace(), withCaches: Bool, sites: Int
    ) {
        self.models = models
        self.layouts = layouts
        self.space = space
        self.withCaches = withCaches
        totals = TraceTotals(siteExecutions: [Int](repeating: 0, count: sites))
        seen[0] = 0
        machines.append(Self.processor(models, layouts, space, withCaches))
        bytesOfProcessor = machines[0].reduce(0) { $0 + $1.structureBytes + $1.tableCount * pageSize }
        bytes = bytesOfProcessor
    }

    private static func processor(
        _ models: [ProcessorModel], _ layouts: [Layout], _ space: AddressSpace, _ withCaches: Bool
    ) -> [Machine] {
        models.flatMap { model in layouts.map { Machine(model, $0, space, caches: withCaches) } }
    }

    /// What keeps a trace from being simulated.
    public enum Obstacle: Error, Equatable, Sendable, CustomStringConvertible {
        case processors, memory, address, room

        public var description: String {
            switch self {
            case .processors: "more than \(Simulation.mostProcessors) processors"
            case .memory:
                "it touches more memory than \(PageTables.mostTables) page tables map, which no kernel does: damaged?"
            case .address: "an address beyond four levels of page tables (record with la57=off): damaged?"
            case .room:
                "it takes more than \(Simulation.mostBytes >> 30) GB of buffers, caches and page tables: "
                    + "simulate fewer models or granules at a time"
            }
        }
    }

    /// Takes the next batch.
    ///
    /// - Throws: `Obstacle` when the trace asks for more than is simulated.
    public mutating func consume(_ batch: borrowing TraceBatch) throws(Obstacle) {
        totals.references += batch.count
        hasBegun = hasBegun || batch.count > 0
        totals.instructions &+= batch.instructions
        let references = unsafe batch.references
        for index in machines[current].indices {
            let tables = machines[current][index].tableCount
            if machines[current][index].hasCaches {
                unsafe machines[current][index].run(references, batch.count)
            } else {
                unsafe machines[current][index].translate(batch.pages, batch.pageCount)
            }
            if let obstacle = machines[current][index].obstacle { throw obstacle }
            bytes += (machines[current][index].tableCount - tables) * pageSize
        }
        guard bytes <= Self.mostBytes else { throw .room }
        switch batch.event {
        case .site(let site)?: totals.siteExecutions[site] += 1
        case .systemCall?: totals.systemCalls += 1
        case .skipped(let instructions)?: totals.skippedInstructions &+= instructions
        case .processor(let number)?: try goOn(number)
        case .addressSpace?:
            totals.addressSpaceSwitches += 1
            for index in machines[current].indices { machines[current][index].switchAddressSpace() }
        case .end?, nil: break
        }
    }

    /// Begins to count anew, with buffers and caches as what came before has left them.
    public mutating func forgetCounts() {
        totals = TraceTotals(
            processors: totals.processors, siteExecutions: [Int](repeating: 0, count: totals.siteExecutions.count))
        for processor in machines.indices {
            for index in machines[processor].indices { machines[processor][index].forgetCounts() }
        }
    }

    private mutating func goOn(_ number: Int) throws(Obstacle) {
        // The first processor that a trace names is the one it began on.
        if !hasBegun, machines.count == 1 { seen = [number: 0] }
        if let known = seen[number] {
            current = known
        } else {
            guard machines.count < Self.mostProcessors else { throw .processors }
            bytes += bytesOfProcessor
            guard bytes <= Self.mostBytes else { throw .room }
            current = machines.count
            seen[number] = current
            machines.append(Self.processor(models, layouts, space, withCaches))
        }
        totals.processors = machines.count
    }

    /// What was counted, by model, then by layout.
    public var results: [SimulationResult] {
        var results: [SimulationResult] = []
        for model in models.indices {
            for layout in layouts.indices {
                var counts = Counts()
                for processor in machines.indices {
                    counts += machines[processor][model * layouts.count + layout].counts
                }
                results.append(SimulationResult(model: model, layout: layout, counts: counts))
            }
        }
        return results
    }
}
