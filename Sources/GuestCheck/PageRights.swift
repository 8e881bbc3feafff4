// SPDX-License-Identifier: MIT

// What may be done with each page of the image, through its own mapping, through
// the linear map and through any other. A kernel whose pages cross classes gives
// and takes rights frame by frame, at places where no class tells any more what
// they should be. So the kernel that it was made of is asked: booted the same way,
// it must have given every page the same.

import Addressing
import PagePermutation

/// The rights that a running kernel gives, page by page.
public struct PageRights: Codable, Equatable, Sendable {
    struct Rights: OptionSet, Codable, Equatable, Sendable, CustomStringConvertible {
        let rawValue: UInt8

        static let mapped = Rights(rawValue: 1)
        static let writable = Rights(rawValue: 2)
        static let executable = Rights(rawValue: 4)

        init(rawValue: UInt8) { self.rawValue = rawValue }

        init(_ shown: Translation) {
            self = .mapped
            if shown.writable { insert(.writable) }
            if shown.executable { insert(.executable) }
        }

        var description: String {
            guard contains(.mapped) else { return "not mapped" }
            return "r" + (contains(.writable) ? "w" : "-") + (contains(.executable) ? "x" : "-")
        }
    }

    /// At the page's own address.
    var own: [Rights]
    /// Where the linear map shows the frame that holds the page.
    var linear: [Rights]
    /// Those of all other mappings of that frame together.
    var elsewhere: [Rights]
}

extension GuestExpectation {
    /// - Parameter tables: the kernel's.
    func pageRights(_ tables: PageTables, _ memory: borrowing GuestMemory) -> PageRights {
        let none = [PageRights.Rights](repeating: [], count: table.pageCount)
        var rights = PageRights(own: none, linear: none, elsewhere: none)
        let mappings = tables.kernelMappings(
            of: physicalAddress(ofFrame: 0)..<physicalAddress(ofFrame: table.pageCount), in: memory)
        let linear = linearDistance(mappings)
        for (address, shown) in mappings {
            let frame = Int((shown.physical - table.physicalBase) / UInt64(pageSize))
            let page = Int(table.inverse[frame])
            if address == table.virtualBase + UInt64(page * pageSize) {
                rights.own[page].formUnion(PageRights.Rights(shown))
            } else if address.rawValue &- shown.physical.rawValue == linear {
                rights.linear[page].formUnion(PageRights.Rights(shown))
            } else {
                rights.elsewhere[page].formUnion(PageRights.Rights(shown))
            }
        }
        return rights
    }

    /// Whether every page has the rights that it has in the kernel this one was made of. Frames of pages that the kernel
    /// frees get what their next users want, but for execution in place.
    func compare(_ rights: PageRights, with original: PageRights) -> GuestResult.Check {
        let name = "rights-as-original"
        guard original.own.count == pages.count else {
            let detail = "the original has \(original.own.count) pages, this one \(pages.count)"
            return GuestResult.Check(name: name, outcome: .fail, detail: detail)
        }
        var different = 0
        var compared = 0
        var examples: [String] = []
        func note(_ page: Int, _ place: String, _ now: PageRights.Rights, _ then: PageRights.Rights) {
            different += 1
            guard examples.count < 20 else { return }
            let address = table.virtualBase + UInt64(page * pageSize)
            examples.append("\(pages[page]) page \(page) (\(address)) is \(now) \(place), \(then) in the original")
        }
        for page in pages.indices {
            let isKept = [.text, .rodata, .data, .bss].contains(pages[page])
            if isKept { compared += 1 }
            for (place, all) in [("at its own address", \PageRights.own), ("in the linear map", \PageRights.linear)] {
                let (now, then) = (rights[keyPath: all][page], original[keyPath: all][page])
                let isRight = isKept ? now == then : then.contains(.executable) || !now.contains(.executable)
                if !isRight { note(page, place, now, then) }
            }
            let more = rights.elsewhere[page].subtracting(original.elsewhere[page])
            if isKept, !more.isDisjoint(with: [.writable, .executable]) {
                note(page, "elsewhere", rights.elsewhere[page], original.elsewhere[page])
            }
        }
        return GuestResult.Check(
            name: name, outcome: different == 0 ? .pass : .fail,
            detail: different == 0
                ? "\(compared) pages, and the linear map's mappings of their frames: as in the original"
                : "\(different) mappings have other rights than in the original",
            examples: examples)
    }
}
