// SPDX-License-Identifier: MIT

// What each form of `virt_to_phys` and `phys_to_virt` costs that a paging mode, or
// serving several of them, asks for. The ways take turns as in LookupBench, in
// batches of 1,024 lookups with warm caches; the constant offset is the measure.

import Addressing
public import PagePermutation
public import SecureRandom

/// One form, asked one question.
public struct ModeTiming: Encodable, Sendable {
    public enum Question: String, Encodable, CaseIterable, Sendable {
        case image = "virt_to_phys, image"
        case linear = "virt_to_phys, linear map"
        case imageFrame = "phys_to_virt, image's frame"
        case frame = "phys_to_virt, other frame"
    }

    public let variant: String
    public let question: Question
    public let kind: LookupTiming.Kind
    public let ticks: Percentiles
    /// How many times as long as the constant offset takes for the same kind of question in the same direction.
    public let againstConstant: Double
}

/// The forms, to be timed.
public struct ModeBench {
    private let table: TranslationTable
    private let clock: TickClock
    private let pattern: AccessPattern

    /// - Throws: `SeedError` when libsodium has no locked memory left.
    public init(_ table: TranslationTable, clock: TickClock, seed: borrowing Seed) throws(SeedError) {
        self.table = table
        self.clock = clock
        var stream = try RandomStream(seed: seed, domain: "kperm/layout/modes")
        pattern = .uniform(LookupBench.patternLength, of: table.pageCount, &stream)
    }

    /// Times all forms.
    ///
    /// - Throws: `WrongLookup` when a chain of lookups does not end where it must.
    public func measure(_ effort: BenchEffort) throws(WrongLookup) -> [ModeTiming] {
        var timings: [ModeTiming] = []
        for isBack in [false, true] {
            // The constant offset comes first, and answers for the linear map only; so does the variable one.
            let single = isBack ? Self.singleBack() : Self.single()
            let both = isBack ? Self.bothBack(table) : Self.both(table)
            let questions: [(ModeTiming.Question, [LookupLoops], [UInt64])] =
                isBack
                ? [(.imageFrame, both, frames(0)), (.frame, single + both, frames(1 << 32))]
                : [(.image, both, image), (.linear, single + both, linear)]
            for (question, loops, addresses) in questions {
                let contestants = loops.map { Contestant($0, addresses, batch: LookupBench.longBatch) }
                // What both are held against, in the same turns.
                let measure = Contestant(single[0], isBack ? frames(1 << 32) : linear, batch: LookupBench.longBatch)
                let batches = 0..<min(effort.warmBatches, addresses.count / LookupBench.longBatch)
                for kind in LookupTiming.Kind.allCases {
                    for _ in 0..<effort.rounds {
                        try measure.takeTurn(kind, .warm, batches)
                        for contestant in contestants { try contestant.takeTurn(kind, .warm, batches) }
                    }
                    let constant = measure.result(pattern.name, kind, .warm, clock)
                    for contestant in contestants {
                        let result = contestant.result(pattern.name, kind, .warm, clock)
                        timings.append(
                            ModeTiming(
                                variant: result.strategy, question: question, kind: kind, ticks: result.ticks,
                                againstConstant: result.ratio(to: constant)))
                    }
                }
            }
        }
        return timings
    }

    private static func single() -> [LookupLoops] { [LookupLoops(ConstantOffset()), LookupLoops(VariableOffset())] }

    private static func both(_ table: TranslationTable) -> [LookupLoops] {
        [
            LookupLoops(StockTranslation(table)), LookupLoops(BorderTest(table)),
            LookupLoops(TableAndOffset(table)),
        ]
    }

    private static func singleBack() -> [LookupLoops] {
        [LookupLoops(WayBack(ConstantOffset())), LookupLoops(WayBack(VariableOffset()))]
    }

    private static func bothBack(_ table: TranslationTable) -> [LookupLoops] {
        [
            LookupLoops(WayBack(StockTranslation(table))), LookupLoops(WayBack(BorderTest(table))),
            LookupLoops(WayBack(TableAndOffset(table))),
        ]
    }

    private var image: [UInt64] { addresses(table.virtualBase.rawValue) }

    private var linear: [UInt64] {
        addresses(StockTranslation.usualDirectMap.rawValue + table.physicalBase.rawValue + 1 << 32)
    }

    /// Physical addresses so far behind the image's first frame.
    private func frames(_ distance: UInt64) -> [UInt64] { addresses(table.physicalBase.rawValue + distance) }

    private func addresses(_ base: UInt64) -> [UInt64] {
        pattern.pages.enumerated().map { base &+ UInt64($1) << 12 &+ UInt64(($0 * 72) & 0xff8) }
    }
}
