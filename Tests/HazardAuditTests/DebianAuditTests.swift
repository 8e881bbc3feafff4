// SPDX-License-Identifier: MIT

// Debian's cloud kernel: what decoding finds is what the relocations name, and
// every object translated as a constant is one that permute pins.

import Addressing
import Foundation
import KernelImage
import KernelRewrite
import TestSupport
import Testing

@testable import HazardAudit

let isOffline: Bool = {
    let offline = ProcessInfo.processInfo.environment["KPERM_OFFLINE"] != nil
    if offline { print("NOT TESTED: Debian's kernel was not audited, because KPERM_OFFLINE is set.") }
    return offline
}()

@Suite(.enabled(if: !isOffline, "KPERM_OFFLINE is set"))
struct DebianAuditTests {
    @Test func sitesAreWhatRelocationsName() throws {
        let fetched = try fetchKernel("cloud", "--debug")
        func path(_ key: String) throws -> String { try #require(fetched[key]) }
        let debug = try KernelImage.open(try path("vmlinux"))
        let table = try #require(try debug.symbolTable())
        let base = try #require(table.find(["phys_base"], in: debug)["phys_base"]?.first?.value)
        let code = debug.sections.filter { $0.isAllocated && $0.isExecutable }
        var named: Set<VirtualAddress> = []
        try debug.forEachRelocation { relocation in
            guard relocation.symbol < table.symbols.count,
                code.contains(where: { $0.address <= relocation.address && relocation.address < $0.end })
            else { return }
            // The addend of a field relative to the next instruction counts from the field.
            let value = table.symbols[relocation.symbol].value.rawValue &+ UInt64(bitPattern: relocation.addend)
            let isRelative = relocation.type == 2 || relocation.type == 4
            if isRelative ? (value &+ 4 >= base.rawValue && value <= base.rawValue) : value == base.rawValue {
                named.insert(relocation.address)
            }
        }
        #expect(named.count > 300)

        let stripped = try KernelImage.open(try path("vmlinux_stripped"))
        let found = TranslationSites(try AuditSubject.kernel(stripped))
        #expect(found.skipped.isEmpty)
        for place in named {
            #expect(found.sites.contains { $0.address < place && place < $0.address + 16 }, "nothing at \(place)")
        }
        #expect(found.sites.count == named.count)
        #expect(found.sites.count(where: \.isUnderstood) * 100 >= found.sites.count * 90)
        let constants = found.sites.filter { $0.kind == .constant }
        #expect(constants.count > 20)
        #expect(constants.allSatisfy { $0.isPinned == true })
    }

    /// Xen's start hands firmware one of two strings of its own.
    @Test func constantsOfTheGenericKernelStay() throws {
        let kernel = try CompressedKernel.open(try #require(try fetchKernel("generic", "--image")["vmlinuz"]))
        let constants = TranslationSites(try AuditSubject.kernel(kernel.kernel)).sites.filter { $0.kind == .constant }
        #expect(constants.contains { $0.place.hasPrefix("xen_efi_probe+") && $0.translated.hasPrefix("vendor, ") })
        #expect(constants.allSatisfy { $0.isPinned == true })
    }
}
