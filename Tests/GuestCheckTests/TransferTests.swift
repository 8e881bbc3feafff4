// SPDX-License-Identifier: MIT

// What the guest makes of a trace of devices' transfers: those of the image are
// told, and where it cannot know, it says so.

import Addressing
import Foundation
import PagePermutation
import Testing

@testable import GuestCheck

struct TransferTests {
    /// The image is at physical 0x1000000 to 0x3830000.
    private static let resources = """
        00001000-0009fbff : System RAM
        00100000-1ffdffff : System RAM
          01000000-01e01ef1 : Kernel code
          02000000-02827fff : Kernel rodata
          02a00000-0301957f : Kernel data
          0324c000-0382ffff : Kernel bss

        """
    private static let base = "base=0xffffea0000000000"

    private func page(_ frame: UInt64) -> String { "0x" + String(0xffff_ea00_0000_0000 + 64 * frame, radix: 16) }

    /// What the guest says of events: the log's lines.
    private func told(_ events: [String], overrun: Int = 0, missed: Int = 0) async throws -> String {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try FileManager.default.createDirectory(
            atPath: "\(directory)/watch/per_cpu/cpu0", withIntermediateDirectories: true)
        try FileManager.default.createDirectory(
            atPath: "\(directory)/watch/events/kpermdma", withIntermediateDirectories: true)
        let files = [
            "iomem": Self.resources, "watch/trace": events.map { $0 + "\n" }.joined(), "log": "",
            "watch/per_cpu/cpu0/stats": "entries: 4\noverrun: \(overrun)\ndropped events: 0\n",
            "kprobe_profile": "  page   17   0\n  given   17   \(missed)\n",
        ]
        for (name, text) in files { try writeFile("\(directory)/\(name)", Array(text.utf8)) }
        let opening = """
            say() { echo "kperm-exercise: $*" >>$log; }
            unwatched= log=\(directory)/log watch=\(directory)/watch iomem=\(directory)/iomem
            tracing=\(directory) lists=dma_map_sg_attrs
            cd \(directory)

            """
        let script = Transfers.telling.replacing("/transfers", with: "transfers").replacing("/pairs", with: "pairs")
            .replacing(">$log", with: ">>$log")
        try writeFile("\(directory)/script", Array((opening + script).utf8))
        _ = try await output(of: try findProgram("busybox"), ["sh", "\(directory)/script"])
        return String(decoding: try readFile("\(directory)/log"), as: UTF8.self)
    }

    private func ask(_ frame: UInt64, _ offset: UInt64, _ size: UInt64, gives: UInt64) -> [String] {
        let start = "  cat-70  [001] .....  4.5"
        return [
            "\(start): page: (dma_map_page_attrs+0x0/0x1c0) page=\(page(frame)) offset=0x\(String(offset, radix: 16)) "
                + "size=0x\(String(size, radix: 16)) direction=0x2 \(Self.base)",
            "\(start): given: (vring_map_one_sg+0x0/0x1c0 <- dma_map_page_attrs) address=0x\(String(gives, radix: 16))",
        ]
    }

    @Test func thoseOfTheImageAreTold() async throws {
        let entries = (0..<4).map { i in
            "page\(i)=\(page([0x5000, 0x2a07, 0x3830, 0x1000][i])) offset\(i)=0x40 size\(i)=0x200"
        }
        let log = try await told(
            ask(0x5000, 0x10, 0x600, gives: 0x500_0010) + ask(0x382f, 0xff0, 0x20, gives: 0x382_fff0)
                + ask(0x382f, 0xff0, 0x20, gives: 0x382_fff0) + [
                    "  cat-70 [000] ..... 4.6: list: (dma_map_sg_attrs+0x0/0x20) count=0x3 direction=0x1 "
                        + entries.joined(separator: " ") + " \(Self.base)"
                ])
        let table = TranslationTable(
            Permutation(identity: 0x2830), virtualBase: VirtualAddress(0xffff_ffff_8100_0000),
            physicalBase: PhysicalAddress(0x100_0000))
        let transfers = Transfers.parse(log, table).sorted { $0.offset < $1.offset }
        #expect(
            transfers == [
                Transfer(
                    function: "dma_map_sg_attrs", offset: 0x1a0_7040, page: 0x1a07, size: 0x200, direction: 1, count: 1),
                Transfer(
                    function: "dma_map_page_attrs", offset: 0x282_fff0, page: 0x282f, size: 0x20, direction: 2,
                    count: 2),
            ])
        let check = try #require(Exercise(parsing: log).checks.first)
        #expect(check.outcome == .pass)
        #expect(check.detail.hasPrefix("3 pages, 1 lists (0 of more than 36"))
    }

    /// A read-ahead's list is longer than what was first thought of; what does not fit is counted.
    @Test func longListsAreTold() async throws {
        func list(_ count: Int) -> String {
            let entries = (0..<36).map { i in
                "page\(i)=\(page(i == 0x11 ? 0x2a07 : 0x5000)) offset\(i)=0x0 size\(i)=0x1000"
            }
            return "  cat-70 [000] ..... 4.6: list: (dma_map_sg_attrs+0x0/0x20) count=0x\(String(count, radix: 16)) "
                + "direction=0x2 \(entries.joined(separator: " ")) \(Self.base)"
        }
        let given = ask(0x5000, 0x10, 0x600, gives: 0x500_0010)
        let log = try await told(given + [list(0x11), list(0x12), list(0x24), list(0x25)])
        #expect(log.contains("kperm-transfer: dma_map_sg_attrs 44068864 4096 2 3\n"), "\(log)")
        let check = try #require(Exercise(parsing: log).checks.first)
        #expect(check.detail.hasPrefix("1 pages, 4 lists (1 of more than 36"), "\(check.detail)")
    }

    /// Events that were lost, and a `struct page` of another size.
    @Test func whatIsNotKnownIsNotPassed() async throws {
        let good = ask(0x5000, 0x10, 0x600, gives: 0x500_0010)
        for (events, overrun, missed) in [
            (good, 1, 0), (good, 0, 1), (ask(0x5000, 0x10, 0x600, gives: 0x400_0010), 0, 0),
            (Array(good.prefix(1)), 0, 0),
        ] {
            let checks = Exercise(parsing: try await told(events, overrun: overrun, missed: missed)).checks
            #expect(checks.map(\.outcome) == [.fail], "\(checks)")
        }
        #expect(Exercise(parsing: try await told([])).checks.map(\.outcome) == [.skip])
    }

    @Test func shellUnderstandsIt() async throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try writeFile("\(directory)/guest", Array(ExerciseScript.text(.full, watchesTransfers: true).utf8))
        let command = #""$0" sh -n "$1" 2>&1 && echo fine"#
        let answer = try await output(of: "/bin/sh", ["-c", command, try findProgram("busybox"), "\(directory)/guest"])
        #expect(answer == "fine\n")
    }
}
