// SPDX-License-Identifier: MIT

// All traces before all processors with all orders. A trace and a processor are
// one piece of work, and as many are done at once as there are cores.

import FoundationEssentials
import PagePermutation
import Report
import TranslationSimulator

struct TraceStudy {
    private struct Job: Sendable {
        let trace: Int
        let path: String
        let name: String
        let layouts: [Layout]
        let sites: Int
        let model: (name: String, model: ProcessorModel)
        let caches: Bool

        /// One pass over the trace.
        func run() throws(TraceError) -> Done {
            var reader = try TraceReader(path)
            var simulation = Simulation(
                models: [model.model], layouts: layouts, withCaches: caches, sites: sites)
            var batch = TraceBatch()
            var told = ContinuousClock.now
            while try reader.next(&batch) {
                do { try simulation.consume(batch) } catch {
                    throw TraceError(path, at: reader.offset, "cannot be simulated: \(error)")
                }
                if ContinuousClock.now - told > .seconds(5) {
                    told = .now
                    progress("simulating: \(name), \(model.model.title): \(Int(reader.progress * 100)) %")
                }
            }
            return Done(job: self, totals: simulation.totals, counts: simulation.results.map(\.counts))
        }
    }

    private struct Done: Sendable {
        let job: Job
        let totals: TraceTotals
        /// By layout.
        let counts: [Counts]

        /// What each granule's orders came to, the unpermuted kernel first.
        var rows: [OverheadReport.Simulation] {
            let thousands = max(Double(totals.instructions) / 1000, 1e-3)
            let cycles = job.model.model.cycles
            func translation(_ counts: Counts) -> Double {
                let (fetch, data) = (counts.fetch, counts.data)
                let hits = fetch.firstLevelMisses + data.firstLevelMisses - fetch.walks - data.walks
                return Double(hits) * cycles.secondLevelHit.value + fetch.walkCycles + data.walkCycles
            }
            let work = Double(totals.instructions) * cycles.instruction.value
            let stock = work + (counts.first.map(translation) ?? 0)
            var granules: [(name: String, counts: [Counts])] = []
            for (layout, counts) in zip(job.layouts, counts) {
                if granules.last?.name == layout.name {
                    granules[granules.count - 1].counts.append(counts)
                } else {
                    granules.append((layout.name, [counts]))
                }
            }
            return granules.map { name, counts in
                func rate(_ value: (Counts) -> Double) -> Estimate { Estimate(counts.map { value($0) / thousands }) }
                return OverheadReport.Simulation(
                    workload: job.name, model: job.model.name, granule: name,
                    instructionMisses: rate { Double($0.fetch.firstLevelMisses) },
                    dataMisses: rate { Double($0.data.firstLevelMisses) },
                    walks: rate { Double($0.fetch.walks + $0.data.walks) },
                    imageWalks: rate { Double($0.fetch.imageWalks + $0.data.imageWalks) },
                    walkCycles: rate { $0.fetch.walkCycles + $0.data.walkCycles },
                    translationCycles: rate(translation),
                    slowdownPercent: Estimate(
                        counts.map { stock > 0 ? 100 * ((work + translation($0)) / stock - 1) : 0 }))
            }
        }
    }

    private let jobs: [Job]
    private let traces: Int

    init(
        _ subject: KernelSubject, _ traces: [TraceSubject], _ models: [(name: String, model: ProcessorModel)],
        caches: Bool
    ) throws {
        var jobs: [Job] = []
        for (index, trace) in traces.enumerated() {
            let layouts = try trace.layouts(subject)
            for model in models {
                jobs.append(
                    Job(
                        trace: index, path: trace.path, name: trace.name, layouts: layouts,
                        sites: trace.header.sites.count, model: model, caches: caches))
            }
        }
        self.jobs = jobs
        self.traces = traces.count
    }

    /// - Returns: what was simulated, by trace, model and granule, and what each trace holds.
    func run() async throws -> (rows: [OverheadReport.Simulation], totals: [TraceTotals]) {
        let jobs = jobs
        do {
            let done = try await withThrowingTaskGroup(of: (Int, Done).self) { group in
                var done = [Done?](repeating: nil, count: jobs.count)
                var next = 0
                func start() {
                    guard next < jobs.count else { return }
                    let (index, job) = (next, jobs[next])
                    next += 1
                    group.addTask { (index, try job.run()) }
                }
                for _ in 0..<ProcessInfo.processInfo.activeProcessorCount { start() }
                while let (index, result) = try await group.next() {
                    done[index] = result
                    start()
                }
                return done.compactMap { $0 }
            }
            return (
                done.flatMap(\.rows),
                (0..<traces).compactMap { trace in done.first { $0.job.trace == trace }?.totals }
            )
        } catch let error as TraceError {
            throw CommandFailure.input("\(error)")
        }
    }
}
