// SPDX-License-Identifier: MIT

// What an audit asks of a permutation: a pin for what the kernel translates
// itself, glue for what it looks up in page tables, and nothing beside them.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import HazardAudit
@testable import KernelRewrite

struct ConstraintTests {
    /// `crossing` has 96 bytes in the second page of data and 104 in the third, `inside` lies in the fourth; 16 pages.
    private static let data = """
        .data
        .balign 4096
        first: .skip 4096
        .skip 4000
        .type crossing, @object; crossing: .skip 200; .size crossing, 200
        .balign 4096
        .type inside, @object; inside: .skip 200; .size inside, 200
        .balign 4096
        .skip 49152
        .globl phys_base; .type phys_base, @object
        phys_base: .quad 0; .size phys_base, 8
        """

    private struct Asked {
        let constraints: AuditConstraints
        let data: VirtualAddress
        let map: PageMap

        /// Bytes from the start of data.
        func offsets(_ constraints: [AuditConstraints.Constraint]) throws -> [Range<UInt64>] {
            try constraints.map { constraint in
                let ends = constraint.pages.components(separatedBy: "..").map { UInt64($0.dropFirst(2), radix: 16) }
                try #require(ends.count == 2)
                return try #require(ends[0]) - data.rawValue..<(try #require(ends[1])) - data.rawValue
            }
        }
    }

    /// Of a kernel whose data is one class, with some of its pages pinned by the kernel.
    private func asked(
        _ body: String, _ functions: String = "", pinned: Range<Int> = 0..<0, without hidden: String = ""
    ) throws -> Asked {
        let callees = ["sg_init_one", "slow_virt_to_phys", "_printk", "vmalloc_to_page"].map {
            "FUNCTION(\($0)): ret\nEND(\($0))"
        }
        let source = """
            FUNCTION(start): \(body); ret
            END(start)
            \(functions)
            \(callees.joined(separator: "\n"))
            \(Self.data)
            """
        let scratch = try Scratch()
        let image = try KernelImage.open(try linkKernel(source, in: scratch))
        let table = try #require(try image.symbolTable())
        let found = table.find(["_text", "_end", "first"], in: image)
        func address(_ name: String) throws -> VirtualAddress { try #require(found[name]?.first).value }
        let map = try PageMap(image, from: try address("_text"), to: try address("_end"))
        let first = try #require(map.page(of: try address("first")))
        let index = table.index(over: map.virtualRange)
        let kernel = KernelAnalysis(
            architecture: .x86, release: nil, build: nil, map: map,
            classes: [PageClass(name: "data", ranges: [first..<first + 16])], exclusions: [],
            pins: [Pin(pages: pinned.lowerBound + first..<pinned.upperBound + first, reason: "test", evidence: "test")],
            translated: [], remarks: [], stubEnd: map.virtualBase, rootTable: map.physicalBase, earlyFunctions: [],
            handedOver: [],
            symbols: KernelSymbols(table, of: image, names: ["phys_base"]), index: index,
            data: DataObjects(index, table, image, largest: 4096, largestArray: 4096, largestStack: 4096))
        let bytes = try readBytes(image.path)
        let sections = image.sections.filter { $0.isAllocated && $0.size > 0 && !$0.isNoBits }.map { section in
            AuditSubject.Section(
                name: section.name, address: section.address, size: section.size,
                bytes: Array(bytes[Int(section.offset)..<Int(section.offset + section.size)]),
                isExecutable: section.isExecutable, isWritable: section.flags & 1 != 0)
        }
        var names: [String] = []
        for symbol in table.symbols { names.append(table.name(of: symbol, in: image)) }
        let known = table.symbols.filter { names[Int($0.index)] != hidden }
        let subject = AuditSubject(
            file: image.path, sections: sections, symbols: known, names: names, index: index, kernel: kernel)
        return Asked(
            constraints: try AuditConstraints(
                subject, TranslationSites(subject), DataFlows(subject, as: .image)),
            data: try address("first"), map: map)
    }

    private static let crossing: Range<UInt64> = 8096..<8296

    @Test func constantsThatMove() throws {
        let body = "movabs $PA(crossing), %rdi; add phys_base(%rip), %rdi"
        let asked = try asked(body)
        #expect(try asked.offsets(asked.constraints.pins) == [Self.crossing])
        #expect(asked.constraints.glue.isEmpty)
        let pin = try #require(asked.constraints.pins.first)
        #expect(pin.object == "crossing" && pin.evidence?.contains("at start+") == true)
        // Two of sixteen pages.
        let cost = try #require(pin.cost?.first)
        #expect(cost.name == "data" && abs(cost.target - log2(16.0 / 14)) < 1e-6)
        #expect(abs(cost.joint - log2(16.0 * 15)) < 1e-6)
        #expect(try self.asked(body, pinned: 1..<3).constraints.isEmpty)
        // Where functions only have names, the analysis knows where the offset is.
        let recovered = try self.asked(body, without: "phys_base")
        #expect(try recovered.offsets(recovered.constraints.pins) == [Self.crossing])
    }

    /// One function knows the object, another translates; and the offset may have no name.
    @Test(arguments: ["", "phys_base"]) func whatACallerHasTranslated(hidden: String) throws {
        let translate = """
            FUNCTION(translate): mov $0x80000000, %eax; add %rdi, %rax; add phys_base(%rip), %rax; mov %rax, (%rsi); ret
            END(translate)
            """
        let asked = try asked("mov $crossing, %rdi; call translate", translate, without: hidden)
        #expect(try asked.offsets(asked.constraints.pins) == [Self.crossing])
    }

    /// The last byte of what a class has says how far a range goes.
    @Test func endsOfRanges() throws {
        func body(_ address: String) -> String { "movabs $PA(\(address)), %rdi; add phys_base(%rip), %rdi" }
        #expect(try asked(body("first + 16 * 4096 - 1")).constraints.isEmpty)
        #expect(try asked(body("first + 2 * 4096 - 1")).constraints.pins.map(\.object) == ["crossing+0x5f"])
    }

    /// The interface translates by an offset, so the object must stay, whether it crosses a page or not.
    @Test func whatIsTranslatedByItself() throws {
        let asked = try asked("mov $crossing, %rsi; mov $200, %edx; call sg_init_one")
        #expect(try asked.offsets(asked.constraints.pins) == [Self.crossing])
        #expect(asked.constraints.glue.isEmpty)
        let other = try self.asked("mov $inside, %rsi; mov $200, %edx; call sg_init_one")
        #expect(other.constraints.pins.map(\.object) == ["inside"])
        #expect(
            try self.asked("mov $inside, %rsi; mov $200, %edx; call sg_init_one", pinned: 3..<4).constraints.isEmpty)
    }

    /// Page tables know where the first byte is, and not that the next page is elsewhere.
    @Test func whatPageTablesAreAskedFor() throws {
        let asked = try asked("mov $crossing, %rdi; call slow_virt_to_phys")
        #expect(asked.constraints.pins.isEmpty)
        #expect(try asked.offsets(asked.constraints.glue) == [Self.crossing])
        let cost = try #require(asked.constraints.glue.first?.cost?.first)
        #expect(cost.target == 0 && abs(cost.joint - 4) < 1e-6)
        #expect(try self.asked("mov $inside, %rdi; call slow_virt_to_phys").constraints.isEmpty)
    }

    /// A pin keeps neighbours together as well.
    @Test func onePinForBoth() throws {
        let asked = try asked(
            "mov $crossing, %rdi; call slow_virt_to_phys; mov $crossing, %rsi; mov $200, %edx; call sg_init_one")
        #expect(asked.constraints.pins.count == 1 && asked.constraints.glue.isEmpty)
    }

    @Test(arguments: ["mov $crossing, %rdi; call vmalloc_to_page", "mov $crossing, %rsi; call _printk"])
    func harmless(body: String) throws {
        #expect(try asked(body).constraints.isEmpty)
    }

    @Test func modulesAskForNothing() throws {
        let subject = try subject("FUNCTION(start): mov $start, %rsi; call sg\nEND(start)\nFUNCTION(sg): ret\nEND(sg)")
        let flows = DataFlows(subject, as: .module)
        #expect(try AuditConstraints(subject, TranslationSites(subject), flows).isEmpty)
    }
}
