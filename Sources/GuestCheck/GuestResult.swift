// SPDX-License-Identifier: MIT

// The verdict, complete enough to be printed as text or as JSON and to be
// argued with: every check by name, and how much each look compared.

/// What one boot of a guest showed.
public struct GuestResult: Codable, Equatable, Sendable {
    public enum Outcome: String, Codable, Sendable { case pass, fail, skip }

    /// One question and its answer.
    public struct Check: Codable, Equatable, Sendable {
        public var name: String
        public var outcome: Outcome
        /// A line: counts when it passed, the cause when it did not.
        public var detail: String
        /// The first places where it failed, a line each (at most 20).
        public var examples: [String] = []
    }

    /// How much one look from outside compared.
    public struct Look: Codable, Equatable, Sendable {
        /// `stub` or `userspace`.
        public var name: String
        /// CPUs whose page tables were walked.
        public var cpus: Int
        /// Pages whose mapping was demanded, on each CPU.
        public var mappedPages = 0
        /// Pages of the image seen in another frame than a linear mapping gives.
        public var movedPages = 0
        /// Pages whose bytes were compared.
        public var comparedPages = 0
        /// Bytes that differ where early code, the stub or the kernel's own patching may change them.
        public var explainedBytes = 0
        /// Bytes that differ anywhere else.
        public var unexplainedBytes = 0
    }

    /// The outside's checks first, then the guest's own, in the order they ended.
    public var checks: [Check] = []
    public var looks: [Look] = []
    /// The memory that the expectation's `notes` named; nil without them.
    public var notes: [UInt8]?
    /// Transfers that touch the image, where the guest was asked for them.
    public var transfers: [Transfer] = []
    /// The table of the kernel that they were seen in, as in its memory.
    public var table: [UInt8]?
    /// What a kernel whose place was known beforehand gives rights to; nil for one that does not protect itself.
    public var rights: PageRights?
    /// Why the exercise was a reduced one; nil when it was complete.
    public var reducedBecause: String?
    /// Wall time of the whole, in seconds.
    public var seconds: Double = 0
    /// Where the console's log is, when it was kept.
    public var logPath: String?

    /// Nothing failed.
    public var passed: Bool { !checks.isEmpty && checks.allSatisfy { $0.outcome != .fail } }
}
