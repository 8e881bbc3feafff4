// SPDX-License-Identifier: MIT

// How entries end, on Debian's cloud kernel: what stays, what is pinned, what a
// rule explains, and what is open.

import Addressing
import Disassembly
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import HazardAudit
@testable import KernelRewrite

struct SeenTranslationTests {
    @Test(.enabled(if: !isOffline, "KPERM_OFFLINE is set")) func entriesEnd() throws {
        let fetched = try fetchKernel("cloud", "--debug")
        let image = try KernelImage.open(try #require(fetched["vmlinux_stripped"]))
        let subject = try AuditSubject.kernel(image)
        let kernel = try #require(subject.kernel)
        func address(_ name: String) throws -> VirtualAddress {
            try #require(subject.symbols(named: name).first { subject.name(of: $0) == name }?.value)
        }
        func seen(_ function: String, _ addresses: [VirtualAddress], lost: UInt64 = 0) throws -> SeenTranslations {
            let site = try address(function)
            let note = Instrumentation.Note(sites: [site], place: site, register: .rdi)
            return SeenTranslations(
                [
                    Instrumentation.Observation(
                        note: note, reached: 9, ofImage: UInt64(addresses.count), lost: lost,
                        addresses: addresses.map {
                            Instrumentation.Seen(offset: $0 - kernel.map.virtualBase, count: 1)
                        })
                ], subject, kernel)
        }
        let start = try address("start_kernel")
        let page = VirtualAddress(start.rawValue & ~0xfff) + 0x1000
        let freed = try seen("free_reserved_area", [page, page + 0x1000, page + 0x2000])
        #expect(freed.entries.map(\.end) == [.explained] && freed.entries.first?.count == 3)
        let elsewhere = try seen("vdso_fault", [page, page + 0x1000])
        #expect(elsewhere.entries.map(\.end) == [.open])
        let mixed = try seen("vdso_fault", [try address("init_top_pgt"), try address("__brk_base") + 0x1000], lost: 2)
        #expect(mixed.entries.map(\.end) == [.pinned, .stays] && mixed.lost == 2)

        // Where translations ask a table, the frame that came out decides.
        let order = TranslationTable(
            try RewritePlan.draw(image, Request()).permutation, virtualBase: kernel.map.virtualBase + 0x20_0000,
            physicalBase: kernel.map.physicalBase + 0x60_0000)
        func judged(
            _ place: VirtualAddress, bits: Int?, _ result: UInt64, others: UInt64 = 0, goesBack: Bool = false
        ) throws -> SeenTranslations {
            let site = try address("free_reserved_area")
            let note = Instrumentation.Note(
                sites: [site], place: site, register: .rdi, isReverse: goesBack, resultBits: bits)
            return SeenTranslations(
                [
                    Instrumentation.Observation(
                        note: note, reached: 9, ofImage: 4, lost: 0,
                        addresses: [
                            Instrumentation.Seen(
                                offset: place - kernel.map.virtualBase, count: 4, result: result, others: others)
                        ])
                ], subject, kernel, order: order)
        }
        func linear(_ address: VirtualAddress) -> UInt64 {
            order.physicalBase.rawValue + (address - kernel.map.virtualBase)
        }
        func frame(_ address: VirtualAddress) throws -> UInt64 {
            let there = order.virtualBase + (address - kernel.map.virtualBase)
            return try #require(order.physicalAddress(of: there)).rawValue
        }
        let moved = try #require((0..<9).map { page + UInt64($0 * 4096) + 8 }.first { try frame($0) != linear($0) })
        let held = try address("init_top_pgt")
        func expect(_ seen: SeenTranslations, _ end: SeenTranslation.End, ofMoved: UInt64 = 4, _ what: Comment) {
            #expect(seen.entries.map(\.end) == [end], what)
            #expect(seen.ofMoved == ofMoved && seen.wrong == (end == .wrong ? 4 : 0), what)
        }
        expect(try judged(moved, bits: 64, frame(moved)), .right, "its frame")
        expect(try judged(moved, bits: 64, frame(moved) &- UInt64(1 << 31)), .right, "START_KERNEL_MAP is added yet")
        expect(try judged(moved, bits: 32, frame(moved) & 0xffff_ffff), .right, "32 bits of it")
        expect(try judged(moved, bits: 64, linear(moved)), .wrong, "the linear one")
        expect(try judged(moved, bits: 32, linear(moved)), .wrong, "32 bits of that")
        expect(try judged(moved, bits: 64, frame(moved) + 1), .wrong, "another byte")
        expect(try judged(moved, bits: 64, 0), .wrong, "nothing")
        expect(try judged(moved, bits: 64, frame(moved), others: 1), .wrong, "its frame, and then another")
        expect(try judged(moved, bits: nil, 0), .wrong, "nothing was asked")
        expect(try judged(moved, bits: nil, 0, goesBack: true), .wrong, ofMoved: 0, "from a frame to another page")
        expect(try judged(held, bits: 64, frame(held)), .pinned, ofMoved: 0, "a pinned page's frame")
        expect(try judged(held, bits: nil, 0), .pinned, ofMoved: 0, "a pinned page, nothing asked")
        expect(try judged(held, bits: 64, frame(moved)), .wrong, ofMoved: 0, "another frame than a pinned page's")

        func transfer(_ address: VirtualAddress, _ size: UInt64) -> SeenTranslation.End {
            let offset = address - kernel.map.virtualBase
            return SeenTransfer(offset: offset, page: Int(offset / 4096), size: size, subject, kernel.map).end
        }
        #expect(transfer(page, 0x2000) == .explained)
        #expect(transfer(try address("jiffies"), 8) == .open)
        #expect(transfer(try address("init_top_pgt"), 4096) == .stays)
    }
}
