// SPDX-License-Identifier: MIT

// A running kernel of Debian's, permuted, in which somebody makes mappings of moved
// pages too wide by writing into its page tables: what `kperm evaluate exposure`
// must notice. That a kernel left alone passes, the same boot shows.

import Addressing
import Foundation
import PagePermutation
import Testing

@testable import GuestCheck
@testable import KernelRewrite
@testable import kperm

@Suite(.enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set"))
struct TamperedGuestTests {
    private static let writable: UInt64 = 1 << 1
    private static let noExecute: UInt64 = 1 << 63

    /// The entry of the lowest table that has one for an address; walked here, not by what is tested.
    private static func entry(
        of address: VirtualAddress, _ tables: PageTables, _ memory: borrowing GuestMemory
    ) -> (place: PhysicalAddress, word: UInt64)? {
        var table = tables.root.rawValue
        for level in (0..<tables.levels).reversed() {
            let place = PhysicalAddress(table + (address.rawValue >> UInt64(12 + 9 * level) & 511) * 8)
            guard let word = memory.word(at: place), word & 1 == 1 else { return nil }
            if level == 0 || word & 1 << 7 != 0 { return (place, word) }
            table = word & 0x000f_ffff_ffff_f000
        }
        return nil
    }

    private static func write(_ word: UInt64, at place: PhysicalAddress, _ memory: borrowing GuestMemory) {
        guard let offset = memory.map.offset(of: place, count: 8) else { return }
        memory.write((0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }, atOffset: offset)
    }

    @Test func mappingsTooWide() async throws {
        let place = try Workplace()
        try FileManager.default.copyItem(atPath: try await DebianVmlinuz.path(), toPath: place["vmlinuz"])
        try #require(try await place.kperm("permute", "vmlinuz", "-o", "permuted").status == 0)
        let kernel = try CompressedKernel.open(place["permuted"])
        let expectation = try LiveExpectation(kernel).expectation(isPermuted: true, isOff: false)

        var before: AliasFigures?
        var rights: GuestResult.Check?
        var widerRights: GuestResult.Check?
        var made: [(page: Int, address: VirtualAddress)] = []
        var options = GuestOptions()
        options.cpus = 1
        // Hundreds of tests may stand in its way.
        options.timeout = 1800
        let result = try await exposeGuest(
            expectation, seeds: [], options: options,
            tampering: { running, tables, memory in
                before = running.aliases(tables, memory)
                let given = running.pageRights(tables, memory)
                rights = running.compare(given, with: given)
                let first = running.physicalAddress(ofFrame: 0)
                let end = running.physicalAddress(ofFrame: running.table.pageCount)
                guard let linear = running.linearDistance(tables.kernelMappings(of: first..<end, in: memory)) else {
                    return
                }
                // One page of text in each of two leaves, moved: writable the first, executable the other.
                var taken: Set<UInt64> = []
                for page in running.pages.indices where made.count < 2 && running.pages[page] == .text {
                    let frame = Int(running.table.forward[page])
                    let alias = VirtualAddress(running.physicalAddress(ofFrame: frame).rawValue &+ linear)
                    guard frame != page, let entry = Self.entry(of: alias, tables, memory),
                        taken.insert(entry.place.rawValue).inserted
                    else { continue }
                    let word = made.isEmpty ? entry.word | Self.writable : entry.word & ~Self.noExecute
                    Self.write(word, at: entry.place, memory)
                    made.append((page, alias))
                }
                widerRights = running.compare(running.pageRights(tables, memory), with: given)
            }, progress: { _ in })

        let untouched = try #require(before)
        #expect(untouched.moved.count > 5000 && untouched.moved.shown == untouched.moved.count)
        #expect(untouched.wide == 0 && untouched.examples.isEmpty)
        #expect(made.count == 2)
        #expect(rights?.outcome == .pass && widerRights?.outcome == .fail)
        for (page, _) in made {
            #expect(widerRights?.examples.contains { $0.contains("text page \(page) ") } == true)
        }
        #expect(result.aliases.moved.writable > 0 && result.aliases.moved.executable > 0)
        #expect(result.aliases.wide >= 2)
        var report = ExposureReport(
            image: "permuted", release: "", file: ExposureReport.File(mode: 0o644, holds: .nothing))
        report.add(result)
        #expect(
            report.problems
                == ["boot 1: \(result.aliases.wide) other mappings of text and rodata are writable or executable"])
    }
}
