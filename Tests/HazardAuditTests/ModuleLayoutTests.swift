// SPDX-License-Identifier: MIT

// A module's sections, symbols and relocations after it is laid out, and files
// that are no module, or a damaged one.

import Addressing
import KernelImage
import KernelRewrite
import TestSupport
import Testing

@testable import HazardAudit

private let source = """
    .text
    .type here, @function
    .size here, 12
    here: .quad there + 3
          .long there - . - 4
    .type there, @function
    .size there, 1
    there: ret
          call outside
          mov outside@GOTPCREL(%rip), %rax
          mov $object + 5, %rdi
    .section .data.second, "aw"
    .zero 24
    .type object, @object
    .size object, 16
    object: .quad outside - 2, object
    """

extension AuditSubject {
    fileprivate func symbol(_ name: String) throws -> Symbol { try #require(symbols(named: name).first) }

    fileprivate func word(_ address: VirtualAddress, _ count: Int) throws -> UInt64 {
        let section = try #require(self.section(at: address))
        let start = Int(address - section.address)
        return section.bytes[start..<start + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

struct ModuleLayoutTests {
    @Test func relocationsAreCarriedOut() throws {
        let subject = try module(assemble(source))
        #expect(subject.module == ModuleRemarks())
        let (here, there) = (try subject.symbol("here").value, try subject.symbol("there").value)
        let (object, outside) = (try subject.symbol("object").value, try subject.symbol("outside").value)
        #expect(try subject.word(here, 8) == there.rawValue + 3)
        #expect(
            try subject.word(here + 8, 4) == UInt64(UInt32(truncatingIfNeeded: there.rawValue &- here.rawValue &- 12)))
        func target(_ end: VirtualAddress) throws -> VirtualAddress {
            let distance = Int32(truncatingIfNeeded: try subject.word(end + UInt64(bitPattern: -4), 4))
            return end + UInt64(bitPattern: Int64(distance))
        }
        #expect(try target(there + 6) == outside)
        #expect(try subject.word(try target(there + 13), 8) == outside.rawValue)
        #expect(try subject.word(there + 16, 4) == (object.rawValue + 5) & 0xffff_ffff)
        #expect(try subject.word(object, 8) == outside.rawValue - 2)
        #expect(try subject.word(object + 8, 8) == object.rawValue)
        #expect(subject.section(at: outside) == nil)
    }

    @Test func sectionsBeginOnPagesOfTheirOwn() throws {
        let subject = try module(assemble(source))
        #expect(subject.sections.allSatisfy { $0.address.offsetInPage == 0 })
        for (section, next) in zip(subject.sections, subject.sections.dropFirst()) {
            #expect(section.range.upperBound <= next.address)
        }
        #expect(try subject.symbol("object").value.offsetInPage == 24)
    }

    @Test func anotherArchitectureIsRefused() throws {
        let bytes = try assemble("ret", target: "aarch64-none-elf")
        let error = #expect(throws: RewriteError.self) { try module(bytes) }
        #expect("\(try #require(error))".contains("machine 183"))
    }

    @Test func aLinkedFileIsNoModule() throws {
        let scratch = try Scratch()
        let image = try KernelImage.open(try linkKernel("FUNCTION(start): ret\nEND(start)", in: scratch))
        let isModule = AuditSubject.isRelocatable(image)
        #expect(!isModule)
        do {
            _ = try AuditSubject.module(image)
            Issue.record("a linked file was taken for a module")
        } catch {
            #expect("\(error)".contains("not a relocatable object"))
        }
    }

    /// Where the relocations of `.text` are in the file: Elf64_Rela is offset, type and symbol, addend.
    private func relocations(of bytes: [UInt8]) throws -> Int {
        let scratch = try Scratch()
        _ = try write(bytes, to: scratch["module.o"])
        let image = try KernelImage.open(scratch["module.o"])
        let section = image.section(named: ".rela.text")
        return Int(try #require(section).offset)
    }

    @Test(arguments: [
        ("type", 8, UInt8(200), ModuleRemarks(unknown: [200: 1])), ("offset", 5, 1, ModuleRemarks(misplaced: 1)),
        ("symbol", 14, 1, ModuleRemarks(misplaced: 1)),
    ])
    func damagedRelocationsAreCounted(what: String, at: Int, value: UInt8, expected: ModuleRemarks) throws {
        var bytes = try assemble(source)
        bytes[try relocations(of: bytes) + at] = value
        #expect(try module(bytes).module == expected)
    }

    @Test func truncatedFilesAreRefusedOrRead() throws {
        let bytes = try assemble(source)
        for count in stride(from: 0, to: bytes.count, by: 7) {
            do { _ = try module(Array(bytes.prefix(count))) } catch is ImageError {} catch is RewriteError {}
        }
    }

    @Test func randomDamageIsSurvived() throws {
        let bytes = try assemble(source)
        var random = TestRandom()
        for _ in 0..<100 {
            var damaged = bytes
            for _ in 0..<4 {
                damaged[Int.random(in: 64..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            do {
                _ = DataFlows(try module(damaged), as: .module)
            } catch is ImageError {} catch is RewriteError {}
        }
    }

    @Test func objectsThatCrossAPage() throws {
        let subject = try module(
            "FUNCTION(use): .zero 4090, 0x90; ret; END(use)\nFUNCTION(far): .zero 20, 0x90; ret; END(far)")
        let found = CrossingObject.all(in: subject)
        #expect(Set(found.map(\.name)) == ["crossing", "wide", "far"])
        for object in found {
            #expect(object.kind == (object.name == "far" ? .function : .data))
            #expect(object.pages == (object.name == "wide" ? 3 : 2) && object.mayStraddle && object.pageClass == nil)
            #expect(object.isSmall == (object.name != "wide"))
        }
    }
}
