// SPDX-License-Identifier: MIT

// The live table found in a copy of memory, wherever it lies, and what is said
// when there is none or more than one.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import KernelRewrite

struct MemoryDumpTests {
    private static let bases = (VirtualAddress(0xffff_ffff_9e00_0000), PhysicalAddress(0x2340_0000))

    /// A table of the live kind; a different one for each number of pages.
    private func table(pages: Int = 100) throws -> TranslationTable {
        let order = (0..<pages).map { UInt32((7 * $0 + 3) % pages) }
        let problem = try PermutationProblem(
            pageCount: pages, classes: [PageClass(name: "text", ranges: [0..<pages])], pins: [], glue: [])
        return TranslationTable(
            try Permutation(forward: order, for: problem), virtualBase: Self.bases.0, physicalBase: Self.bases.1,
            isBaked: false)
    }

    /// What is read from a dump of parts in a row: the table, or why there is none.
    private func read(_ parts: [UInt8]...) throws -> (table: TranslationTable?, said: String?) {
        let scratch = try Scratch()
        let path = try write(parts.flatMap { $0 }, to: scratch["dump"])
        var found: TranslationTable?
        let said = refusal { () throws(RewriteError) in found = try MemoryDump.open(path).table() }
        return (found, said.map { $0.replacing(path, with: "dump") })
    }

    private func noise(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) } }

    @Test(arguments: [0, 1, 7, 8, 4095, 4096, 100_001], [0, 1, 5000]) func foundAnywhere(before: Int, behind: Int)
        throws
    {
        let wanted = try table()
        let (found, said) = try read(noise(before), wanted.bytes, noise(behind))
        #expect(found == wanted)
        #expect(said == nil)
        #expect(found?.isBaked == false)
    }

    @Test func none() throws {
        #expect(try read(noise(10_000)).said == "dump: no translation table of a permuted kernel in it")
        // The word alone, as in kperm's own code or in a stub: no table begins there.
        for parts in [Array("KPERMTBL".utf8), Array("KPERMTBL".utf8) + noise(100)] {
            #expect(
                try read(noise(50), parts).said
                    == "dump: no translation table of a permuted kernel in it; one place looks like one, but: "
                    + "no translation table (magic KPERMTBL, version 1) here")
        }
    }

    @Test func damaged() throws {
        for place in [16, 36, 40, 500] {
            var bytes = try table().bytes
            bytes[place] ^= 1
            let (found, said) = try read(noise(10), bytes, noise(10))
            #expect(found == nil)
            #expect(said?.contains("looks like one, but: translation table damaged: checksum 0x") == true)
        }
        let cut = Array(try table().bytes.dropLast())
        #expect(try read(cut).said?.contains("looks like one, but: no translation table") == true)
    }

    /// A checksum that holds over a table that is no bijection.
    @Test func noBijection() throws {
        var bytes = try table().bytes
        bytes.put(bytes.number(44, as: UInt32.self), at: 40)
        bytes.put(unsafe TableLookup.checksum(bytes.span.bytes), at: 36)
        #expect(try read(bytes).said?.hasSuffix("damaged: page 0 does not lead to a frame and back") == true)
    }

    /// A damaged copy, the one that the stub built its own in, does not hide a whole one.
    @Test func damagedBesideWhole() throws {
        let wanted = try table()
        var bytes = wanted.bytes
        bytes[50] ^= 1
        #expect(try read(bytes, wanted.bytes).table == wanted)
        #expect(try read(wanted.bytes, bytes).table == wanted)
        #expect(try read(wanted.bytes, noise(9), Array(wanted.bytes.prefix(60))).table == wanted)
    }

    @Test func twoEqual() throws {
        let wanted = try table()
        #expect(try read(noise(5), wanted.bytes, noise(4000), wanted.bytes).table == wanted)
    }

    @Test func twoDifferent() throws {
        let (one, other) = (try table(), try table(pages: 101))
        let (found, said) = try read(noise(5), one.bytes, noise(11), other.bytes)
        #expect(found == nil)
        let place = 5 + one.byteCount + 11
        #expect(said?.hasPrefix("dump: several different translation tables, the last at byte \(place.hex)") == true)
    }

    @Test func noSuchFile() throws {
        let said = refusal { () throws(RewriteError) in _ = try MemoryDump.open("/nonexistent/dump") }
        #expect(said == "/nonexistent/dump: cannot open: No such file or directory")
    }
}
