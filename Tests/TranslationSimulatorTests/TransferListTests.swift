// SPDX-License-Identifier: MIT

// Lists of transfers: what is read, what is refused, and where.

import Addressing
import Testing

@testable import TranslationSimulator

struct TransferListTests {
    private func read(_ text: String) -> (entries: [TransferList.Entry], problems: [TransferList.Problem]) {
        TransferList(parsing: Array(text.utf8)).resolved([
            "buffer": [VirtualAddress(0x1000)], "twice": [VirtualAddress(0x1000), VirtualAddress(0x2000)],
            "high": [VirtualAddress(.max - 10)],
        ])
    }

    @Test func readsLines() {
        let list = read(
            """
            # a comment, and an empty line

            0x1000 512 from
            \tbuffer+0x10   0x20 to # behind a transfer
            buffer 1 both\r
            18446744073709551615 1 to
            """)
        #expect(list.problems.isEmpty)
        #expect(list.entries.map(\.line) == [3, 4, 5, 6])
        #expect(list.entries.map(\.text) == ["0x1000", "buffer+0x10", "buffer", "18446744073709551615"])
        #expect(list.entries.map(\.transfer.address.rawValue) == [0x1000, 0x1010, 0x1000, .max])
        #expect(list.entries.map(\.transfer.byteCount) == [512, 32, 1, 1])
        #expect(list.entries.map(\.transfer.direction) == [.from, .to, .both, .to])
        #expect(TransferList(parsing: Array("a 1 to\nb+1 1 to\n0x1 1 to".utf8)).symbols == ["a", "b"])
    }

    @Test func readsWhatItWrites() throws {
        let all = try Transfer.Direction.allCases.map {
            try #require(Transfer(address: VirtualAddress(0xffff_ffff_8100_0f00), byteCount: 4096, direction: $0))
        }
        let list = read(all.map { TransferList.line($0, comment: "f, object+0x1, 3 times") }.joined())
        #expect(list.problems.isEmpty)
        #expect(list.entries.map(\.transfer) == all)
    }

    @Test(arguments: [
        ("buffer", "not 3 words but 1: 0xADDRESS or SYMBOL+OFFSET, LENGTH, and to, from or both"),
        ("buffer 1 to from", "not 3 words but 4: 0xADDRESS or SYMBOL+OFFSET, LENGTH, and to, from or both"),
        ("buffer 1 up", "up is no direction: to, from or both"),
        ("buffer 0 to", "a length of 0 bytes transfers nothing"),
        ("buffer -1 to", "-1 is not a length in bytes"),
        ("buffer 0x to", "'0x' is not a length in bytes"),
        ("buffer 1k to", "1k is not a length in bytes"),
        ("buffer 18446744073709551616 to", "18446744073709551616 does not fit into 64 bits"),
        ("0x10000000000000000 1 to", "0x10000000000000000 does not fit into 64 bits"),
        ("0xfg 1 to", "0xfg is not an address"),
        ("+5 1 to", "+5 names no symbol"),
        ("buffer+ 1 to", "'' is not a number of bytes"),
        ("buffer+x 1 to", "x is not a number of bytes"),
        ("nowhere 1 to", "no symbol nowhere"),
        ("twice 1 to", "several symbols twice, at 0x1000, 0x2000: give an address"),
        ("high+11 1 to", "high+11 lies past the end of the address space"),
        ("high 12 to", "12 bytes from 0xfffffffffffffff5 on reach past the end of the address space"),
        ("\u{1b}[2J 1 to", "no symbol ?[2J"),
    ])
    func saysWhatIsWrong(line: String, what: String) {
        let list = read("buffer 1 to\n\(line)\nbuffer 2 to\n")
        #expect(list.problems == [TransferList.Problem(line: 2, what: what)])
        #expect(list.entries.map(\.line) == [1, 3])
    }

    @Test func problemsComeInOrder() {
        #expect(read("nowhere 1 to\nx\nnowhere 1 to\n").problems.map(\.line) == [1, 2, 3])
        #expect(read("").entries.isEmpty && read("\n#\n").problems.isEmpty)
    }
}
