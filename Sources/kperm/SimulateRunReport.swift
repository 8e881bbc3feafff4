// SPDX-License-Identifier: MIT

// What `kperm simulate run` says, as JSON and as text.

import Addressing
import TranslationSimulator

struct SimulationReport: Encodable {
    struct Trace: Encodable {
        let file: String
        let workload: String
        let virtualBase: String
        let imageBytes: UInt64
        /// At the beginning, and not counted.
        let warmUpReferences: Int
        let references: Int
        let instructions: UInt64
        let skippedInstructions: UInt64
        let systemCalls: Int
        let siteExecutions: Int
        /// Those that were executed.
        let sites: [Site]
        let addressSpaceSwitches: Int
        let processors: Int
    }

    /// A translation site, as it ran.
    struct Site: Encodable {
        let address: String
        let executions: Int
    }

    /// Events for 1000 instructions.
    struct Rates: Encodable {
        let instructionFirstLevelMisses: Double
        let dataFirstLevelMisses: Double
        let walks: Double
        let imageWalks: Double
        let walkReferences: Double
        let walkCycles: Double
        /// Those and what hits in the second level cost.
        let translationCycles: Double
        /// Nil where caches are not simulated.
        let instructionCacheMisses: Double?
        let dataCacheMisses: Double?
        let cache2Misses: Double?
        let cache3Misses: Double?
    }

    struct Events: Encodable {
        let instructionFirstLevelMisses: Int
        let dataFirstLevelMisses: Int
        let instructionWalks: Int
        let dataWalks: Int
        let imageInstructionFirstLevelMisses: Int
        let imageDataFirstLevelMisses: Int
        let imageInstructionWalks: Int
        let imageDataWalks: Int
        let walkReferences: Int
        let walkCycles: Double

        init(_ counts: Counts) {
            let (fetch, data) = (counts.fetch, counts.data)
            instructionFirstLevelMisses = fetch.firstLevelMisses
            dataFirstLevelMisses = data.firstLevelMisses
            instructionWalks = fetch.walks
            dataWalks = data.walks
            imageInstructionFirstLevelMisses = fetch.imageFirstLevelMisses
            imageDataFirstLevelMisses = data.imageFirstLevelMisses
            imageInstructionWalks = fetch.imageWalks
            imageDataWalks = data.imageWalks
            walkReferences = fetch.walkReferences + data.walkReferences
            walkCycles = fetch.walkCycles + data.walkCycles
        }
    }

    struct Granule: Encodable {
        let granule: String
        /// linear, table or drawn.
        let order: String
        /// Pages by how much around them can be one entry.
        let mapped: [String: Int]
        let counts: Events
        let per1000Instructions: Rates
        /// Against the first granule of the list; nil for that one.
        let estimatedSlowdownPercent: Double?
    }

    struct Model: Encodable {
        let model: String
        let title: String
        let caches: Bool
        let granules: [Granule]
        let assumptions: [String]
    }

    let trace: Trace
    let assumptions: [String]
    let models: [Model]

    init(
        trace file: String, _ header: TraceHeader, _ totals: TraceTotals, _ results: [SimulationResult],
        names: [String], models: [ProcessorModel], layouts: [Layout], sources: [String], command: SimulateRun
    ) {
        trace = Trace(
            file: file, workload: header.workload, virtualBase: header.virtualBase.description,
            imageBytes: header.imageBytes, warmUpReferences: command.warmUp, references: totals.references,
            instructions: totals.instructions,
            skippedInstructions: totals.skippedInstructions, systemCalls: totals.systemCalls,
            siteExecutions: totals.siteExecutions.reduce(0, +),
            sites: zip(header.sites, totals.siteExecutions).filter { $0.1 > 0 }.map {
                Site(address: $0.0.description, executions: $0.1)
            }, addressSpaceSwitches: totals.addressSpaceSwitches, processors: totals.processors)
        var assumptions = [
            "walks and hits in the second-level buffer are waited for: no other work overlaps, so the slowdown is at the upper end",
            "cache misses of the program itself are counted where caches are on, but are no part of the slowdown",
            "the linear map is \(command.linearMap ?? "where x86-64 has it without KASLR"), in mappings of "
                + "\(command.linearMapping); all else outside the image is mapped in single pages, the vmemmap in 2M",
            "kernel mappings are global; a switch of address space forgets user memory and the walk caches",
            command.warmUp == 0
                ? "buffers and caches are empty when the trace begins, which weighs the more the shorter it is (--warm-up)"
                : "buffers and caches are as the first \(command.warmUp) references left them, which are not counted",
            "user mode leaves buffers and caches as they are, for only kernel mode is in the trace",
            "no prefetching, no speculation, no second thread on the core; each processor has the last level to itself",
        ]
        if sources.contains("drawn") {
            assumptions.append("drawn orders are of one class of all pages, with no page pinned")
        }
        self.assumptions = assumptions
        let thousands = Double(totals.instructions) / 1000
        func rate(_ count: some BinaryInteger) -> Double { thousands > 0 ? (Double(count) / thousands).toDigits(6) : 0 }
        self.models = models.enumerated().map { index, model in
            let hasCaches = command.caches && !model.caches.isEmpty
            let own = results.filter { $0.model == index }
            func translation(_ counts: Counts) -> Double {
                let (fetch, data) = (counts.fetch, counts.data)
                let hits = fetch.firstLevelMisses + data.firstLevelMisses - fetch.walks - data.walks
                return Double(hits) * model.cycles.secondLevelHit.value + fetch.walkCycles + data.walkCycles
            }
            let work = Double(totals.instructions) * model.cycles.instruction.value
            let base = work + (own.first.map { translation($0.counts) } ?? 0)
            let granules = own.map { result in
                let (fetch, data) = (result.counts.fetch, result.counts.data)
                let layout = layouts[result.layout]
                let cycles = translation(result.counts)
                return Granule(
                    granule: layout.name, order: sources[result.layout],
                    mapped: Dictionary(layout.mappings.map { ($0.name, 1) }, uniquingKeysWith: +),
                    counts: Events(result.counts),
                    per1000Instructions: Rates(
                        instructionFirstLevelMisses: rate(fetch.firstLevelMisses),
                        dataFirstLevelMisses: rate(data.firstLevelMisses), walks: rate(fetch.walks + data.walks),
                        imageWalks: rate(fetch.imageWalks + data.imageWalks),
                        walkReferences: rate(fetch.walkReferences + data.walkReferences),
                        walkCycles: thousands > 0 ? ((fetch.walkCycles + data.walkCycles) / thousands).toDigits(6) : 0,
                        translationCycles: thousands > 0 ? (cycles / thousands).toDigits(6) : 0,
                        instructionCacheMisses: hasCaches ? rate(fetch.cacheMisses) : nil,
                        dataCacheMisses: hasCaches ? rate(data.cacheMisses) : nil,
                        cache2Misses: hasCaches ? rate(result.counts.cache2Misses) : nil,
                        cache3Misses: hasCaches ? rate(result.counts.cache3Misses) : nil),
                    estimatedSlowdownPercent: result.layout == 0 || base == 0
                        ? nil : (100 * ((work + cycles) / base - 1)).toDigits(6))
            }
            let cycles = model.cycles
            return Model(
                model: names[index], title: model.title, caches: hasCaches, granules: granules,
                assumptions: [
                    "an instruction without translation: \(cycles.instruction.text)",
                    "a hit in the second-level buffer: \(cycles.secondLevelHit.text)",
                    hasCaches
                        ? "an entry of a page table: as far as it is away: \(cycles.cache1.value), "
                            + "\(cycles.cache2.value), \(cycles.cache3.value) or \(cycles.memory.value) cycles "
                            + "(\(cycles.memory.source))"
                        : "an entry of a page table: \(cycles.walkReference.text)",
                ])
        }
    }

    func print() {
        Swift.print(
            "trace:     \(trace.file): \(trace.workload), \(trace.references) references, \(trace.instructions) "
                + "instructions, \(trace.systemCalls) system calls")
        Swift.print("           the rates are for 1000 instructions")
        for model in models {
            Swift.print("\n\(model.title)\(model.caches ? "" : ", without caches")")
            var rows = [
                ["granule", "iTLB misses", "dTLB misses", "walks", "for image", "entries", "cycles", "slowdown"]
            ]
            for granule in model.granules {
                let rates = granule.per1000Instructions
                rows.append(
                    [granule.granule]
                        + [
                            rates.instructionFirstLevelMisses, rates.dataFirstLevelMisses, rates.walks,
                            rates.imageWalks, rates.walkReferences, rates.walkCycles,
                        ].map { $0.fixed(3) }
                        + [granule.estimatedSlowdownPercent.map { $0.fixed(2) + " %" } ?? "-"])
            }
            let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
            for row in rows {
                let cells = zip(row, widths).map { cell, width in
                    String(repeating: " ", count: width - cell.count) + cell
                }
                Swift.print("  " + cells.joined(separator: "  "))
            }
            for assumption in model.assumptions { Swift.print("  assumed: \(assumption)") }
        }
        Swift.print("")
        for assumption in assumptions { Swift.print("assumed: \(assumption)") }
    }
}

extension ProcessorModel.Number {
    fileprivate var text: String { "\(value) cycles (\(source))" }
}

extension Double {
    /// To so many decimals.
    func toDigits(_ digits: Int) -> Double {
        let scale = (0..<digits).reduce(1.0) { product, _ in product * 10 }
        return (self * scale).rounded() / scale
    }

    /// With so many decimals.
    func fixed(_ digits: Int) -> String {
        let scale = (0..<digits).reduce(1) { product, _ in product * 10 }
        // What comes of absurd numbers in a model has no decimals any more.
        guard let scaled = Int(exactly: (magnitude * Double(scale)).rounded()) else { return description }
        let decimals = String(scaled % scale)
        let sign = self < 0 && scaled > 0 ? "-" : ""
        return "\(sign)\(scaled / scale)." + String(repeating: "0", count: digits - decimals.count) + decimals
    }
}
