// SPDX-License-Identifier: MIT

// The sample kernel for riscv64, booted: right in each paging mode, and not
// believed when it is wrong.

import Foundation
import Testing

struct RISCV64CommandTests {
    private let pageBytes = 4096

    private func place() async throws -> Workplace {
        let place = try Workplace()
        let built = try await execute("\(checkout)/images/guest/build", [place.path, "riscv64"], in: place.path)
        try #require(built.status == 0, "\(built.error)")
        try FileManager.default.moveItem(atPath: place["sample-riscv64"], toPath: place["sample"])
        return place
    }

    private func permuted() async throws -> Workplace {
        let place = try await place()
        let outcome = try await place.kperm("permute", "sample", "-o", "permuted", "--seed", Workplace.seed)
        try #require(outcome.status == 0, "\(outcome.error)")
        return place
    }

    @Test(arguments: [("sv57", "Sv57", 57), ("sv48", "Sv48", 48), ("sv39", "Sv39", 39)])
    func bootsInEachMode(mode: String, name: String, bits: Int) async throws {
        let place = try await permuted()
        let outcome = try await place.kperm("boot", "permuted", "--mode", mode)
        #expect(outcome.status == 0, "\(outcome.output)")
        for text in [
            "pass stub-mapping: 188 pages as the table says", "pass stub-bytes: 188 pages equal",
            "pass paging-mode: \(name) on 2 CPUs", "pass page-walk: 188 pages", "pass paging: \(bits) bits of address",
            "pass harts: 2 harts",
        ] {
            #expect(outcome.output.contains(text), "\(text)")
        }
    }

    @Test func bootsUnpermuted() async throws {
        let place = try await place()
        let outcome = try await place.kperm("boot", "sample", "--cpus", "1")
        #expect(outcome.status == 0, "\(outcome.output)")
        #expect(outcome.output.contains("pass stub-mapping: 188 pages as the table says, 0 of them moved"))
        #expect(outcome.output.contains("pass harts: 1 harts"))
    }

    /// The kernel's word on the mode is held against what was asked for.
    @Test func anotherModeThanAskedFor() async throws {
        let place = try await permuted()
        let outcome = try await place.kperm("boot", "permuted", "--mode", "sv48", "--append", "no4lvl", "--log", "log")
        #expect(outcome.status == 1)
        #expect(outcome.output.contains("fail paging-mode: Sv39 on 2 CPUs"))
    }

    /// Two entries are exchanged in the table that the kernel reads; the file tells kperm of a copy that is right.
    @Test func wrongTableInTheGuest() async throws {
        let place = try await permuted()
        var bytes = try place.bytes("permuted")
        let size = 40 + 8 * 188
        let magic = Array("KPERMTBL".utf8)
        let pages = stride(from: 0, to: bytes.count - pageBytes, by: pageBytes)
        let table = try #require(pages.first { bytes[$0..<$0 + 8].elementsEqual(magic) })
        let found = bytes.firstRange(of: words(UInt64(table), UInt64(size)))
        let note = try #require(found).lowerBound
        bytes.replaceSubrange(note..<note + 8, with: words(UInt64(bytes.count)))
        bytes += bytes[table..<table + size]
        for i in 0..<4 { bytes.swapAt(table + 40 + 4 * 5 + i, table + 40 + 4 * 17 + i) }
        try place.write(bytes, to: "wrong")
        let outcome = try await place.kperm("boot", "wrong", "--mode", "sv39", "--log", "log")
        #expect(outcome.status == 1)
        #expect(outcome.output.contains("fail stub-mapping: 2 pages are not where the table says"))
        #expect(outcome.output.contains("page 5 (0xffffffff80005000) is at "))
        #expect(outcome.output.contains("fail userspace-mapping: 4 pages are not where the table says"), "on each CPU")
    }

    private func words(_ values: UInt64...) -> [UInt8] {
        values.flatMap { value in (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    }

    @Test func whatDoesNotGoTogether() async throws {
        let place = try await Workplace("sample")
        #expect(try await refused(place, ["boot", "sample", "--mode", "sv39"]).contains("not a riscv64 kernel"))
        let other = try await self.place()
        #expect(try await refused(other, ["boot", "sample", "--firmware", "uefi"]).contains("OpenSBI"))
        #expect(try await refused(other, ["boot", "sample", "--audit"]).contains("riscv64"))
        #expect(
            try await refused(other, ["permute", "sample", "-o", "out", "--audit", "full"]).contains("riscv64 kernels"))
        let gadgets = try await other.kperm("evaluate", "sample", "--gadgets")
        #expect(gadgets.status == 2 && gadgets.error.contains("x86-64 kernels only"))
        #expect(try await refused(other, ["permute", "sample", "-o", "out", "--when", "boot"]).contains("vmlinux"))
    }
}
