// SPDX-License-Identifier: MIT

// A report of made-up numbers, with names that would like to be something else.

import Foundation
import Report

/// The reports that there are.
enum Sample: CaseIterable {
    case overhead, security

    func document() throws -> Document {
        switch self {
        case .overhead: SampleReport.make().document
        case .security: try SampleSecurity.make().document
        }
    }
}

enum SampleReport {
    /// Ends an element, an attribute and a table's cell; the mark above joins the quote to one character.
    static let hostile = "a<b>&amp;\"\u{301}'|</td><script>alert(1)</script>"

    static let granules = ["64K", "16K", "4K"]

    private static func around(_ value: Double) -> Estimate {
        Estimate((0..<10).map { value * (1 + Double($0) / 100) })
    }

    private static func time(_ value: Double) -> Estimate {
        Estimate(times: (0..<10).map { value * (1 + Double($0) / 100) })
    }

    static func make(workloads: [String] = [hostile, "fork"]) -> OverheadReport {
        let strategies = ["linear, both mappings", "flat table, 32-bit", hostile]
        var lookups: [OverheadReport.Lookup] = []
        var curves: [OverheadReport.Curve] = []
        for (index, strategy) in strategies.enumerated() {
            for kind in ["throughput", "latency"] {
                for caches in ["warm", "evicted"] {
                    let base = Double(index + 1) * (caches == "warm" ? 1 : 40)
                    lookups.append(
                        OverheadReport.Lookup(
                            strategy: strategy, tableBytes: 8 << index, cacheLines: index + 1, pattern: "uniform",
                            kind: kind, caches: caches, p50: time(base), p99: time(3 * base),
                            p999: caches == "warm" ? time(9 * base) : nil))
                    guard kind == "latency" else { continue }
                    curves.append(
                        OverheadReport.Curve(
                            strategy: strategy, caches: caches,
                            points: (1..<20).map {
                                OverheadReport.Point(x: base * (0.5 + Double($0) / 20), y: Double($0) / 20)
                            }))
                }
            }
        }
        let models = [("skylake", "Intel Skylake (client)"), ("n1", "Arm Neoverse N1")]
        var simulations: [OverheadReport.Simulation] = []
        for workload in workloads {
            for (model, _) in models {
                for (index, granule) in (["2M"] + granules).enumerated() {
                    let rate = index == 0 ? Estimate(0.5) : around(Double(index))
                    simulations.append(
                        OverheadReport.Simulation(
                            workload: workload, model: model, granule: granule, instructionMisses: rate,
                            dataMisses: rate, walks: rate, imageWalks: rate, walkCycles: rate, translationCycles: rate,
                            slowdownPercent: index == 0 ? Estimate(0) : rate))
                }
            }
        }
        let share = OverheadReport.Share(nanosecondsPerSystemCall: time(2), percent: time(0.01))
        return OverheadReport(
            tool: "0.0.0", generated: "2026-01-02T03:04:05Z",
            kernel: OverheadReport.Kernel(
                file: hostile, format: "vmlinux", architecture: "x86-64", release: hostile, build: nil, buildID: "12ab",
                pages: 10_000, counted: 9000, pinned: 100),
            machine: OverheadReport.Machine(
                processor: hostile, ticksPerNanosecond: 2.5, largePages: "transparent huge pages"),
            method: OverheadReport.Method(
                permutations: 10, rootSeed: "00", seeds: (0..<10).map { "seed\($0)" }, quick: true, caches: false),
            granules: granules.enumerated().map { index, granule in
                OverheadReport.GranuleRow(
                    granule: granule, movable: 8000 + index, moved: around(8000), runs: around(500),
                    targetBits: 6 + 2 * Double(index), jointBits: 80_000)
            },
            images: [
                OverheadReport.ImageDelta(
                    form: "vmlinux, segments", compressor: "zstd, level 3", raw: 1_000_000,
                    permutedRaw: Estimate(1_012_345), compressed: 300_000, permutedCompressed: around(300_001))
            ],
            memory: OverheadReport.Memory(
                tableBytes: 80_040, pageTablePages: 21, drawMilliseconds: time(0.3), moveMilliseconds: time(12)),
            baseline: strategies[0], candidate: strategies[1], lookups: lookups, curves: curves,
            mappings: [
                OverheadReport.Mapping(
                    reference: "data", pattern: "uniform", small: time(60), large: time(30), ratio: time(2))
            ],
            workloads: workloads.map {
                OverheadReport.Workload(
                    trace: "\($0).kpt", name: $0, counted: "the trace", references: 1_234_567, instructions: 5_000_000,
                    userInstructions: 0, instructionsPerSecond: 1e9, systemCalls: 1000, image: 103, linear: nil,
                    constants: 5, unclear: 1,
                    sites: [OverheadReport.Site(place: hostile, translates: "image", executions: 103)])
            },
            costs: workloads.map {
                OverheadReport.Cost(
                    workload: $0, lookupsPerSystemCall: 0.104, lookupsPerSecond: 20_800, warm: share, evicted: share,
                    allWarm: nil)
            }, simulations: simulations,
            models: models.map {
                OverheadReport.Model(
                    name: $0, title: $1,
                    numbers: [OverheadReport.Number(name: "an instruction", value: 1, source: hostile)])
            })
    }
}

extension String {
    /// How often a text stands in this one.
    func occurrences(of text: String) -> Int { components(separatedBy: text).count - 1 }
}
