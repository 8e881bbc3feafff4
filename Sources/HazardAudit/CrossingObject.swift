// SPDX-License-Identifier: MIT

// Objects and functions that begin in one page and end in another. Under a
// permutation the frames behind such an object are no neighbours any more, which
// matters to whoever goes by physical addresses.

public import Addressing
import KernelImage
import KernelRewrite
import PagePermutation

/// An object over several pages.
public struct CrossingObject: Sendable, Equatable {
    public enum Kind: String, Sendable, Codable, CaseIterable {
        case data, function
    }

    public let name: String
    public let kind: Kind
    public let address: VirtualAddress
    /// In bytes.
    public let size: UInt64
    public let section: String
    /// How many pages it reaches into.
    public let pages: Int
    /// Smaller than a page, and over two all the same.
    public var isSmall: Bool { size < UInt64(pageSize) }
    /// The class whose pages its own trade places with; nil in a module, and for pages that no permutation touches.
    public let pageClass: String?
    /// Whether its frames may be no neighbours: two of its pages next to each other are not both pinned.
    public let mayStraddle: Bool

    /// All of a kernel or a module, ascending by address. Aliases count once.
    ///
    /// - Parameter glued: pages that keep their neighbours.
    public static func all(in subject: AuditSubject, glued: [Range<Int>] = []) -> [CrossingObject] {
        var isPinned: Set<Int> = []
        var classes: [Int: String] = [:]
        if let kernel = subject.kernel {
            for pin in kernel.pins { isPinned.formUnion(pin.pages) }
            for pageClass in kernel.classes {
                for range in pageClass.ranges { for page in range { classes[page] = pageClass.name } }
            }
        }
        var seen: Set<Range<VirtualAddress>> = []
        var found: [CrossingObject] = []
        for symbol in subject.symbols
        where symbol.size > 0 && symbol.kind != .section && symbol.kind != .file
            && UInt64(symbol.value.offsetInPage) + symbol.size > UInt64(pageSize)
        {
            guard let section = subject.section(at: symbol.value), symbol.end <= section.range.upperBound,
                seen.insert(symbol.value..<symbol.end).inserted
            else { continue }
            let count = (symbol.value.offsetInPage + Int(symbol.size) + pageSize - 1) / pageSize
            let first = subject.kernel?.map.page(of: symbol.value)
            let mayStraddle =
                first.map { first in
                    (first..<first + count - 1).contains { page in
                        classes[page] != nil && !(isPinned.contains(page) && isPinned.contains(page + 1))
                            && !glued.contains { $0.contains(page) && $0.contains(page + 1) }
                    }
                } ?? true
            found.append(
                CrossingObject(
                    name: subject.name(of: symbol), kind: section.isExecutable ? .function : .data,
                    address: symbol.value, size: symbol.size, section: section.name, pages: count,
                    pageClass: first.flatMap { classes[$0] }, mayStraddle: mayStraddle))
        }
        return found.sorted { ($0.address, $0.size) < ($1.address, $1.size) }
    }
}
