// SPDX-License-Identifier: MIT

// An attack on a running kernel, as a value: what it aims at, how the attacker
// goes about it, and how often it must work. The attacker knows the public image
// and the physical base of the running one, so that only the permutation stands
// between him and the page.

public import Addressing

/// Bytes of the image that an attacker wants to change, and how userspace shows that they did.
public struct AttackTarget: Sendable {
    /// The symbol.
    public let name: String
    /// Of the first byte that is written, as linked.
    public let address: VirtualAddress
    public let payload: [UInt8]
    /// Whether the kernel write-protects the page.
    public let isReadOnly: Bool
    /// Bytes of the page, by their offset in it, that a running kernel leaves as the image has them, but for those
    /// that it patches itself: what a reader of frames knows the page by.
    public let stable: Range<Int>
    /// A shell command whose one line of output shows the bytes' effect.
    public let command: String
    /// What it prints before the attack; nil where that is not known.
    public let before: String?
    /// What it prints when the attack has worked.
    public let after: String

    public init(
        name: String, address: VirtualAddress, payload: [UInt8], isReadOnly: Bool, stable: Range<Int>, command: String,
        before: String?, after: String
    ) {
        self.name = name
        self.address = address
        self.payload = payload
        self.isReadOnly = isReadOnly
        self.stable = stable
        self.command = command
        self.before = before
        self.after = after
    }
}

/// One way to attack one target.
public struct Attack: Sendable {
    public enum Method: Equatable, Sendable {
        /// Writes to the frame where the public image has the page.
        case blind
        /// Writes at the address where the kernel's linear map shows that frame, and only if the kernel may write there.
        case alias
        /// Knows where so many pages of the class lie, the target's own among them or not, and guesses among the frames
        /// that are left.
        case leak(pages: Int, includingTarget: Bool)
        /// Reads so many frames of the class, none twice, and writes to the one whose contents are the target's.
        case fingerprint(reads: Int)
    }

    public let target: AttackTarget
    public let method: Method
    /// The frames of the image that may hold the target's page: only its own where it is pinned, or the kernel not
    /// permuted.
    public let frames: [Int]
    /// Whether each of them is as likely.
    public let spreadsEvenly: Bool

    public init(_ method: Method, on target: AttackTarget, frames: [Int], spreadsEvenly: Bool = true) {
        self.method = method
        self.target = target
        self.frames = frames
        self.spreadsEvenly = spreadsEvenly
    }

    /// How likely it is to work; an approximation where the page is not spread evenly.
    public var prediction: Double {
        let count = frames.count
        return switch method {
        case .blind: 1 / Double(count)
        case .alias: target.isReadOnly ? 0 : 1 / Double(count)
        case .leak(let pages, let includingTarget): includingTarget ? 1 : 1 / Double(count - pages)
        case .fingerprint(let reads): Double(reads) / Double(count)
        }
    }

    /// Why this attack cannot be tried on an image of so many pages, linked at `base`; nil when it can.
    public func problem(imageBase base: VirtualAddress, pageCount: Int) -> String? {
        guard target.address >= base, target.address - base < UInt64(pageCount * pageSize) else {
            return "\(target.name) (\(target.address)) lies outside the image"
        }
        guard target.address.offsetInPage + target.payload.count <= pageSize else {
            return "\(target.name): the \(target.payload.count) bytes from \(target.address) on cross into another page"
        }
        guard frames.contains(Int((target.address - base) / UInt64(pageSize))) else {
            return "\(target.name): its own frame is none of those that may hold its page"
        }
        switch method {
        case .leak(let pages, let includingTarget) where !(0..<frames.count + (includingTarget ? 1 : 0)).contains(pages):
            return "\(pages) leaked pages: beside \(target.name)'s own, \(frames.count - 1) move in its class"
        case .fingerprint(let reads) where !(0...frames.count).contains(reads):
            return "\(reads) reads: \(frames.count) frames may hold \(target.name)'s page"
        default: return nil
        }
    }
}

/// How one attack on one guest went.
public struct AttackResult: Codable, Equatable, Sendable {
    public enum Outcome: String, Codable, Sendable {
        /// Userspace shows the effect.
        case hit
        /// Userspace shows none.
        case missed
        /// After the write the guest panicked, reset or stood still.
        case crashed
        /// The kernel's own mapping of the place does not allow the write: nothing was written.
        case refused
        /// Nothing that was read was the page: nothing was written.
        case notFound
    }

    public let outcome: Outcome
    public let target: String
    /// Where in its frame the first byte was written; nil when nothing was.
    public let offsetInFrame: Int?
    /// Whether that was the target's frame, by the guest's page tables.
    public let isRightFrame: Bool
    /// What userspace saw last.
    public let seen: String?
    /// Frames that were left to guess among or to read.
    public let frames: Int
    /// Pages whose place the attacker knew.
    public let leaked: Int
    /// Frames that the attacker might read.
    public let reads: Int
    /// Why the mapping refused, or how the guest ended.
    public let detail: String?
    /// What must not be: the page tables say one thing, the table or userspace another.
    public let contradiction: String?
    /// Boots that never got as far as the attack.
    public internal(set) var restarts = 0
    /// From the start of the guest, in seconds.
    public internal(set) var seconds = 0.0
}
