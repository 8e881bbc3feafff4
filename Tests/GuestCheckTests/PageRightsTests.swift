// SPDX-License-Identifier: MIT

// The rights of a guest's pages held against those of another: the same guest
// passes, and one that gives a page more or less, anywhere, does not.

import Addressing
import Testing

@testable import GuestCheck

struct PageRightsTests {
    private func check(_ change: (inout SyntheticGuest) -> Void) throws -> GuestResult.Check {
        let original = try SyntheticGuest()
        var guest = original
        change(&guest)
        let rights = original.expectation.pageRights(original.builder.tables, try original.memory())
        return guest.expectation.compare(
            guest.expectation.pageRights(guest.builder.tables, try guest.memory()), with: rights)
    }

    private static func own(_ page: Int) -> UInt64 { SyntheticGuest.base + UInt64(page) * 0x1000 }
    private static func frame(_ page: Int) -> UInt64 {
        SyntheticGuest.frames + UInt64(SyntheticGuest.order[page]) * 0x1000
    }

    @Test func theSameGuestPasses() throws {
        let check = try check { _ in }
        #expect(check.outcome == .pass && check.detail.hasPrefix("7 pages"), "\(check)")
        let guest = try SyntheticGuest()
        let rights = guest.expectation.pageRights(guest.builder.tables, try guest.memory())
        #expect(rights.own.map(\.description) == ["r-x", "r-x", "r--", "r--", "rw-", "rw-", "rw-", "rw-"])
        #expect(rights.linear.map(\.description) == [String](repeating: "r--", count: 8))
    }

    /// A page of each kind, wherever it is shown.
    @Test(arguments: [0, 1, 2, 3, 4, 5, 6], [TableBuilder.writable | TableBuilder.noExecute, 0])
    func oneAliasTooWide(page: Int, flags: UInt64) throws {
        let linear = try check { guest in
            guest.builder.map(SyntheticGuest.linearMap + Self.frame(page), to: Self.frame(page), flags: flags)
        }
        #expect(linear.outcome == .fail && linear.examples.count == 1, "\(linear)")
        #expect(linear.examples.first?.contains("page \(page) ") == true)
        #expect(linear.examples.first?.contains("in the linear map") == true)
        let elsewhere = try check { guest in
            guest.builder.map(0xffff_c900_0000_0000, to: Self.frame(page), flags: flags)
        }
        #expect(elsewhere.outcome == .fail && elsewhere.examples.first?.contains("elsewhere") == true, "\(elsewhere)")
    }

    @Test(arguments: [0, 2, 4, 6]) func otherRightsOfItsOwn(page: Int) throws {
        let all = try check { guest in
            guest.builder.map(Self.own(page), to: Self.frame(page), flags: TableBuilder.writable)
        }
        #expect(all.outcome == .fail && all.examples.first?.contains("rwx at its own address") == true, "\(all)")
        let none = try check { $0.builder.unmap(Self.own(page)) }
        #expect(none.outcome == .fail && none.examples.first?.contains("is not mapped at") == true, "\(none)")
    }

    /// What was freed may become anything but executable.
    @Test func freedPages() throws {
        let (own, frame) = (Self.own(7), Self.frame(7))
        #expect(
            try check { guest in
                guest.builder.map(own, to: frame, flags: TableBuilder.noExecute)
                guest.builder.map(
                    SyntheticGuest.linearMap + frame, to: frame, flags: TableBuilder.writable | TableBuilder.noExecute)
                guest.builder.map(0xffff_ffff_c000_0000, to: frame, flags: 0)
            }.outcome == .pass)
        #expect(
            try check { $0.builder.map(SyntheticGuest.linearMap + frame, to: frame, flags: 0) }.outcome == .fail)
    }
}
