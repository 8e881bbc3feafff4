// SPDX-License-Identifier: MIT

// What is promised of the lookups, as ratios of times from the same run: that
// Swift costs what C costs, and what a flat table may cost: the one of offsets,
// and, where both hold what is promised, the one of numbers that an image carries.

/// A ratio against its limit.
public struct LookupCheck: Encodable, Sendable {
    public let claim: String
    public let ratio: Double
    /// What the ratio must not exceed, or, if `atLeast`, must reach.
    public let limit: Double
    public let atLeast: Bool

    public var holds: Bool { atLeast ? ratio >= limit : ratio <= limit }

    private enum CodingKeys: String, CodingKey { case claim, ratio, limit, atLeast, holds }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(claim, forKey: .claim)
        try container.encode(ratio, forKey: .ratio)
        try container.encode(limit, forKey: .limit)
        try container.encode(atLeast, forKey: .atLeast)
        try container.encode(holds, forKey: .holds)
    }

    static let (linear, stock) = ("linear offset", "linear, both mappings")
    static let (offsets, numbers) = ("flat table, 64-bit offsets", "flat table, 32-bit")
    static let walk = "page-table walk, 4 levels"
    static let strategies = [linear, stock, offsets, numbers, walk]

    /// Of throughputs with warm caches (`LookupBench.measureSteady`), and of loops in both languages.
    public static func all(_ timings: [LookupTiming], _ comparisons: [CComparison]) -> [Self] {
        func time(_ strategy: String) -> LookupTiming? {
            timings.first { $0.strategy == strategy && $0.kind == .throughput && $0.caches == .warm }
        }
        var checks = comparisons.map {
            Self(claim: "\($0.strategy), \($0.kind): Swift against C", ratio: $0.ratio, limit: 1.1, atLeast: false)
        }
        guard let offsets = time(offsets), let numbers = time(numbers), let linear = time(linear),
            let stock = time(stock), let walk = time(walk)
        else { return checks }
        checks += [
            Self(
                claim: "flat table of offsets against the linear offset, throughput", ratio: offsets.ratio(to: linear),
                limit: 1.5, atLeast: false),
            Self(
                claim: "flat table of offsets against Linux's virt_to_phys, throughput",
                ratio: offsets.ratio(to: stock), limit: 1.5, atLeast: false),
            Self(
                claim: "4-level walk against the flat table of offsets, throughput", ratio: walk.ratio(to: offsets),
                limit: 2.5, atLeast: true),
            Self(
                claim: "4-level walk against the flat table, 32-bit, throughput", ratio: walk.ratio(to: numbers),
                limit: 2.5, atLeast: true),
        ]
        return checks
    }
}
