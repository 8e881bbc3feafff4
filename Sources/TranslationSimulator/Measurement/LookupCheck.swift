// SPDX-License-Identifier: MIT

// What is promised of the lookups, as ratios of times from the same run: that
// Swift costs what C costs, and what the flat table may cost.

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

    /// Of throughputs with warm caches, and of loops in both languages.
    public static func all(_ timings: [LookupTiming], _ comparisons: [CComparison]) -> [Self] {
        func time(_ strategy: String) -> LookupTiming? {
            timings.first { $0.strategy == strategy && $0.kind == .throughput && $0.caches == .warm }
        }
        var checks = comparisons.map {
            Self(claim: "\($0.strategy), \($0.kind): Swift against C", ratio: $0.ratio, limit: 1.1, atLeast: false)
        }
        guard let flat = time("flat table, 32-bit"), let linear = time("linear offset"),
            let stock = time("linear, both mappings"), let walk = time("page-table walk, 4 levels")
        else { return checks }
        checks += [
            Self(
                claim: "flat table against the linear offset, throughput", ratio: flat.ratio(to: linear), limit: 1.5,
                atLeast: false),
            Self(
                claim: "flat table against Linux's virt_to_phys (both mappings), throughput",
                ratio: flat.ratio(to: stock), limit: 1.5, atLeast: false),
            Self(
                claim: "4-level walk against the flat table, throughput", ratio: walk.ratio(to: flat), limit: 2.5,
                atLeast: true),
        ]
        return checks
    }
}
