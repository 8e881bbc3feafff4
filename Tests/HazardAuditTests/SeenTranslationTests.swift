// SPDX-License-Identifier: MIT

// How entries end, on Debian's cloud kernel: what stays, what is pinned, what a
// rule explains, and what is open.

import Addressing
import Disassembly
import KernelImage
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
                        addresses: addresses.map { ($0 - kernel.map.virtualBase, 1) })
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

        func transfer(_ address: VirtualAddress, _ size: UInt64) -> SeenTranslation.End {
            let offset = address - kernel.map.virtualBase
            return SeenTransfer(offset: offset, page: Int(offset / 4096), size: size, subject, kernel.map).end
        }
        #expect(transfer(page, 0x2000) == .explained)
        #expect(transfer(try address("jiffies"), 8) == .open)
        #expect(transfer(try address("init_top_pgt"), 4096) == .stays)
    }
}
