// SPDX-License-Identifier: MIT

// What the attacker does, decided while the guest is stopped. He is given what
// his method knows and nothing else: where the image begins, pages that leaked,
// frames that he may read, the rights of the kernel's linear map.

import Addressing
import PagePermutation

/// What comes of an attacker's plan.
enum AttackMove: Equatable {
    /// He writes to a frame of the image, by its number.
    case write(frame: Int)
    case refused(String)
    case notFound
}

extension Attack {
    /// - Parameters:
    ///   - page: the target's.
    ///   - running: the running kernel, with its live table, addresses and contents.
    ///   - tables: the kernel's.
    func move(
        page: Int, _ running: GuestExpectation, _ tables: PageTables, _ memory: borrowing GuestMemory,
        using generator: inout some RandomNumberGenerator
    ) -> AttackMove {
        switch method {
        case .blind: return .write(frame: page)
        case .alias:
            guard let alias = running.linearAddress(ofFrame: page, tables, memory),
                let found = tables.translate(alias, in: memory)
            else { return .refused("the linear map does not show that frame") }
            guard found.writable else { return .refused("the linear map shows that frame read-only") }
            return .write(frame: page)
        case .leak(_, includingTarget: true): return .write(frame: Int(running.table.forward[page]))
        case .leak(let count, includingTarget: false):
            // What may hold the page are the places of the pages that it trades with, so one list does for both.
            let leaked = frames.filter { $0 != page }.shuffled(using: &generator).prefix(count)
            let taken = Set(leaked.map { Int(running.table.forward[$0]) })
            guard let guess = frames.filter({ !taken.contains($0) }).randomElement(using: &generator) else {
                return .notFound
            }
            return .write(frame: guess)
        case .fingerprint(let reads):
            let known = running.fingerprint(of: page, target.stable)
            for frame in frames.shuffled(using: &generator).prefix(reads)
            where running.frame(frame, shows: known, memory) { return .write(frame: frame) }
            return .notFound
        }
    }
}

extension GuestExpectation {
    func physicalAddress(ofFrame frame: Int) -> PhysicalAddress {
        table.physicalBase + UInt64(frame * pageSize)
    }

    /// The guest that runs now: where its kernel lies, and in which order.
    ///
    /// - Throws: `GuestError.unfit` when that cannot be found, or the kernel did not permute itself.
    func running(_ roots: [PageTables], _ memory: borrowing GuestMemory) throws(GuestError) -> GuestExpectation {
        switch placement {
        case .fixed: return self
        case .live(let derive):
            let areas = BootAreas(in: memory)
            switch areas.drawing(in: memory) ?? .unclear(areas.absence) {
            case .permuted(_, let table) where table.pageCount == pages.count: return derive(table)
            case .permuted(_, let table):
                throw .unfit("the live table is of \(table.pageCount) pages, the image of \(pages.count)")
            case .unpermuted(let area):
                throw .unfit("\(kernelPath): the kernel did not permute itself: \(area.state.name): \(area.status)")
            case .unclear(let problem): throw .unfit("\(kernelPath): \(problem)")
            }
        case .described(let wanted):
            guard let found = described(wanted, memory).expectation else {
                throw .unfit("\(kernelPath): no descriptor of a running kernel can be believed")
            }
            return found
        case .searched(let derive):
            guard let base = KernelBase(in: roots, pageCount: pages.count, memory) else {
                throw .unfit("\(kernelPath): no kernel in the page tables of any CPU")
            }
            return derive(base.identity(pageCount: pages.count))
        }
    }

    /// Where the kernel's linear map has a frame, computed as an attacker does who knows where it begins.
    fileprivate func linearAddress(
        ofFrame frame: Int, _ tables: PageTables, _ memory: borrowing GuestMemory
    ) -> VirtualAddress? {
        let mappings = tables.kernelMappings(
            of: physicalAddress(ofFrame: 0)..<physicalAddress(ofFrame: table.pageCount), in: memory)
        let linear = linearDistance(mappings)
        return linear.map { VirtualAddress(physicalAddress(ofFrame: frame).rawValue &+ $0) }
    }

    /// Offsets in a page, and the bytes there that the kernel itself never changes.
    fileprivate func fingerprint(of page: Int, _ stable: Range<Int>) -> [(offset: Int, byte: UInt8)] {
        let contents = contents(Page(page))
        let start = table.virtualBase + UInt64(page * pageSize)
        return stable.filter { !patchSites.holds(start + UInt64($0)) }.map { ($0, contents[$0]) }
    }

    fileprivate func frame(
        _ frame: Int, shows known: [(offset: Int, byte: UInt8)], _ memory: borrowing GuestMemory
    ) -> Bool {
        guard let bytes = memory.bytes(at: physicalAddress(ofFrame: frame), count: pageSize) else { return false }
        return known.allSatisfy { bytes[$0.offset] == $0.byte }
    }
}
