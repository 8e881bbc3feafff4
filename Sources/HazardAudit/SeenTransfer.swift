// SPDX-License-Identifier: MIT

// What a transfer of a device in the image's frames means. A device goes by
// frames: under a permutation it meets the page that lies there, not the one that
// a linear mapping would have there.

import Addressing
public import KernelImage
import KernelRewrite
import PagePermutation

/// A transfer that touches the image, judged.
public struct SeenTransfer: Sendable {
    /// What a linear mapping would have there.
    public let object: String
    /// What is there, as linked.
    public let found: String
    public let end: SeenTranslation.End
    public let reason: String

    /// Classes whose memory is another's by the time a guest's exercise begins: data, one a line.
    private static let freed = [
        (
            name: "init",
            reason: "the kernel has freed this memory (free_initmem) before transfers were watched: its frames are "
                + "handed out by number, and no address of the image leads there"
        )
    ]

    /// - Parameters:
    ///   - offset: from the start of the image's physical range, in bytes.
    ///   - page: the page of the image that lies there.
    ///   - size: in bytes.
    public init(offset: UInt64, page: Int, size: UInt64, _ subject: AuditSubject, _ map: PageMap) {
        let linear = map.virtualBase + offset
        object = subject.describe(linear)
        found = subject.describe(map.virtualBase + UInt64(page * pageSize) + offset % UInt64(pageSize))
        let pages = map.pages(of: linear..<linear + max(size, 1))
        let moving = pages.filter { !subject.stays(map.virtualBase + UInt64($0 * pageSize)) }
        let classes = subject.kernel?.classes ?? []
        let rule = Self.freed.first { rule in
            moving.allSatisfy { page in
                classes.contains { $0.name == rule.name && $0.ranges.contains { $0.contains(page) } }
            }
        }
        if moving.isEmpty {
            (end, reason) = (.stays, "all its pages stay in every permutation")
        } else if let rule {
            (end, reason) = (.explained, rule.reason)
        } else {
            (end, reason) = (.open, "a device meets other pages there than a linear mapping has")
        }
    }
}
