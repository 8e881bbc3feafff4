// SPDX-License-Identifier: MIT

// What one running kernel exposes, complete enough to be printed as text or as
// JSON and to be argued with.

/// What one reader found at one interface of the kernel's.
public struct ExposureView: Codable, Equatable, Sendable {
    /// Files there, and how many of them could be read.
    public internal(set) var files = 0
    public internal(set) var open = 0
    /// Bytes that were read.
    public internal(set) var bytes = 0
    /// Moved pages whose frames they tell.
    public internal(set) var pages = 0
    public internal(set) var hasSeed = false
    /// Whether they tell where the image begins in physical memory: KASLR's secret, not the permutation's.
    public internal(set) var hasBase = false
    /// The files that tell pages or the seed, the first 20.
    public internal(set) var telling: [String] = []

    /// Whether it tells anything of the permutation.
    public var isTelling: Bool { pages > 0 || hasSeed }
}

/// One interface and both readers.
public struct ExposureInterface: Codable, Equatable, Sendable {
    /// A path, or what several begin with.
    public let path: String
    public let what: String
    public internal(set) var user = ExposureView()
    public internal(set) var root = ExposureView()
}

/// Where the table itself lies in the running kernel.
public struct TablePlace: Codable, Equatable, Sendable {
    /// Physical address and size in bytes.
    public let address: UInt64
    public let bytes: Int
    /// Pages of it that the kernel's own address space shows, and how many of these are writable or executable there.
    public let mapped: Int
    public let writable: Int
    public let executable: Int
}

/// What one boot showed.
public struct ExposureResult: Codable, Equatable, Sendable {
    public let movedPages: Int
    public let interfaces: [ExposureInterface]
    public let aliases: AliasFigures
    /// Nil when it is nowhere in one piece.
    public let tablePlace: TablePlace?
    /// Places in memory that hold a seed that was known beforehand, as 32 bytes; nil when none was.
    public let seedsInMemory: Int?
    /// From the start of the guest, in seconds.
    public internal(set) var seconds = 0.0

    /// Whether an unprivileged user is told of the permutation.
    public var isExposed: Bool { interfaces.contains { $0.user.isTelling } }
}
