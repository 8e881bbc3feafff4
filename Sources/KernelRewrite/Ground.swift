// SPDX-License-Identifier: MIT

// Why pages stay, in terms of who uses their frames: a pin goes when all who do
// ask a table for them.

public import Addressing
import KernelImage
public import PagePermutation

/// An object whose pages stay, and who must ask the table before they need not.
struct Ground: Sendable {
    enum User: Sendable {
        /// Stays whatever asks the table.
        case fixed
        /// What comes of the physical address that stands at a place in the code, or is computed there.
        case named(VirtualAddress)
        /// All that these functions translate, and what they use it for.
        case functions([String], use: String)
    }

    let object: Range<VirtualAddress>
    let user: User
}

/// A pin that a kernel does not need any more whose translations ask a table.
public struct ReleasedPin: Equatable, Sendable {
    public let pin: Pin
    /// Who asks now.
    public let users: [String]
}

extension KernelAnalysis {
    /// Where code names a page of the image by its physical address: instructions, or words in them.
    public var namedPlaces: [VirtualAddress] {
        var places: Set<VirtualAddress> = []
        for ground in grounds {
            if case .named(let place) = ground.user { places.insert(place) }
        }
        return places.sorted()
    }

    /// Pages that no pin holds any more, ascending.
    public var releasedPages: [Range<Int>] {
        let pages = Set(released.flatMap(\.pin.pages))
        return PageClasses.runs(map.pageCount, pages.contains)
    }

    /// The same kernel, of which it is not known what its translations may reach.
    func releasingNone(_ reason: String) -> KernelAnalysis {
        var same = self
        same.whyNoneReleased = reason
        return same
    }

    /// The same kernel, where of some pages nobody uses the frames any more as if they were linear.
    ///
    /// - Parameter users: who asks a table for these pages now.
    func releasing(_ users: [Int: [String]]) -> KernelAnalysis {
        var less = self
        less.pins = []
        for pin in pins {
            func part(_ belongs: (Int) -> Bool) -> [Pin] {
                PageClasses.runs(pin.pages.upperBound) { pin.pages.contains($0) && belongs($0) }.map {
                    Pin(pages: $0, reason: pin.reason, evidence: pin.evidence)
                }
            }
            less.pins += part { users[$0] == nil }
            for gone in part({ users[$0] != nil }) {
                var names: [String] = []
                for name in gone.pages.flatMap({ users[$0] ?? [] }) where !names.contains(name) { names.append(name) }
                less.released.append(ReleasedPin(pin: gone, users: names))
            }
        }
        return less
    }
}
