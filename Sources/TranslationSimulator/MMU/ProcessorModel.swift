// SPDX-License-Identifier: MIT

// What a processor has between a virtual address and memory, as data: each
// structure and each number with where it comes from. ModelFile.swift reads it
// from JSON, KnownModels.swift holds those that kperm brings along.

/// Who asks for a translation.
public enum Stream: String, CaseIterable, Sendable {
    case fetch, data

    var index: Int { self == .fetch ? 0 : 1 }
}

/// A processor's translation buffers, walk caches and caches.
public struct ProcessorModel: Equatable, Sendable {
    /// The geometry of a structure. Fully associative: as many ways as entries.
    public struct Shape: Equatable, Sendable {
        public let entries: Int
        public let ways: Int
        public let replacement: Replacement
        public let source: String
    }

    /// A translation lookaside buffer. What is mapped larger than it can hold it holds in parts.
    public struct Buffer: Equatable, Sendable {
        public let level: Int
        public let streams: [Stream]
        public let pages: [MappingSize]
        public let shape: Shape
    }

    /// Keeps entries of one level of the page tables that lead to other tables: 2 those that lead to tables of pages
    /// (x86: PDEs), 3 and 4 those above.
    public struct WalkCache: Equatable, Sendable {
        public let level: Int
        public let shape: Shape
    }

    /// A cache of lines of 64 bytes.
    public struct Cache: Equatable, Sendable {
        public let level: Int
        public let streams: [Stream]
        /// Entries are lines.
        public let shape: Shape
    }

    public struct Number: Equatable, Sendable {
        public let value: Double
        public let source: String
    }

    /// In processor cycles.
    public struct Cycles: Equatable, Sendable {
        /// What a hit in the second level costs more than one in the first.
        public let secondLevelHit: Number
        /// One reference of a walk where caches are not simulated.
        public let walkReference: Number
        /// A hit in the caches, by level.
        public let cache1, cache2, cache3: Number
        public let memory: Number
        /// An instruction, address translation left out.
        public let instruction: Number
    }

    public let title: String
    /// 3 (Sv39) or 4.
    public let pagingLevels: Int
    public let pagingSource: String
    public let buffers: [Buffer]
    public let walkCaches: [WalkCache]
    public let caches: [Cache]
    public let cycles: Cycles
}
