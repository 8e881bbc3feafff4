// SPDX-License-Identifier: MIT

// What moves when the same kernel comes up under another paging mode.

/// Two layouts, region by region.
public struct ModeComparison: Sendable {
    public enum Change: String, Encodable, Sendable {
        case same
        /// Other addresses, the same size.
        case moves
        /// It begins where it did, and ends elsewhere.
        case resized
        case movesAndResized = "moves, resized"
        case onlyHere = "only here"
        case onlyThere = "only there"
    }

    public struct Row: Sendable {
        public let kind: RegionKind
        public let here: Region?
        public let there: Region?

        public var change: Change {
            guard let here else { return .onlyThere }
            guard let there else { return .onlyHere }
            if here.range == there.range { return .same }
            if here.byteCount == there.byteCount { return .moves }
            return here.range.lowerBound == there.range.lowerBound ? .resized : .movesAndResized
        }

        /// From here to there, in bytes; nil when one of them has no such region.
        public var distance: Int64? {
            guard let here, let there else { return nil }
            return Int64(bitPattern: there.range.lowerBound &- here.range.lowerBound)
        }
    }

    public let rows: [Row]

    public init(_ here: AddressLayout, _ there: AddressLayout) {
        let kinds = RegionKind.allCases.filter { here.region($0) != nil || there.region($0) != nil }
        rows = kinds.map { Row(kind: $0, here: here.region($0), there: there.region($0)) }
    }
}
