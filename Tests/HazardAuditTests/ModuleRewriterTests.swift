// SPDX-License-Identifier: MIT

// Modules whose translations ask the table, run beside the originals: the file
// that was written is read back, relocated, and executed.

import Addressing
import Disassembly
import Foundation
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import HazardAudit
@testable import KernelRewrite

/// A module, rewritten for a kernel that lies right before the modules' area.
private struct Rewritten {
    static let pages = 64

    let subject: AuditSubject
    let sites: [TranslationSite]
    let module: RewrittenModule
    let frames: [UInt32]
    /// The file that was written, laid out.
    private(set) var after: AuditSubject
    /// With what was added, and nothing that leads there.
    private let before: AuditSubject
    private let text: VirtualAddress
    private let table: VirtualAddress

    init(_ file: String, _ random: inout TestRandom) throws {
        let image = try KernelImage.open(file)
        let subject = try AuditSubject.module(image)
        text = VirtualAddress(AuditSubject.moduleArea.rawValue - UInt64(Self.pages * pageSize))
        frames = (0..<UInt32(Self.pages)).shuffled(using: &random)
        table = text + UInt64(pageSize) + 8 * UInt64.random(in: 0..<400, using: &random)
        let lookups = KernelLookups(
            text: text, table: table, pages: Self.pages,
            physBase: try #require(subject.addresses(named: "phys_base").first))
        let found = TranslationSites(subject)
        sites = found.sites
        module = try RewrittenModule.make(
            image, subject.laidOut, found.sites.compactMap(\.rewritten), lookups, name: subject.functionName)
        self.subject = subject
        guard !module.file.isEmpty else {
            (after, before) = (subject, subject)
            return
        }
        var plain = module.edits
        plain.replaced = []
        plain.dropped = [:]
        for (number, section) in image.sections.enumerated() where section.isExecutable {
            plain.relocations[number] = nil
        }
        before = try HazardAuditTests.module(image.object(with: plain))
        after = try HazardAuditTests.module(module.file)
        for section in subject.sections where section.isExecutable {
            #expect(after.section(at: section.address)?.name == section.name)
        }
    }

    /// A kernel with a table, and the module behind it.
    private func memory(_ subject: AuditSubject) -> [UInt8] {
        let sections = subject.sections.filter { $0.name != ".got" }
        let end = sections.map(\.range.upperBound).max() ?? text
        var memory = [UInt8](repeating: 0, count: (Int(end - text) + pageSize) & ~(pageSize - 1))
        let places = [(table, LookupTable.bytes(of: frames))] + sections.map { ($0.address, $0.bytes) }
        for (address, bytes) in places {
            memory.replaceSubrange(Int(address - text)..<Int(address - text) + bytes.count, with: bytes)
        }
        return memory
    }

    func with(_ after: AuditSubject) -> Rewritten {
        var other = self
        other.after = after
        return other
    }

    /// The detours where they are in the file.
    var led: [DetourCode.Led] {
        guard let home = after.sections.first(where: { $0.name == RewrittenModule.section })?.address,
            let first = module.code.led.first?.code.lowerBound
        else { return [] }
        return module.code.led.map { led in
            let start = home + (led.code.lowerBound - first)
            return DetourCode.Led(
                detour: led.detour, lead: led.lead, code: start..<start + (led.code.upperBound - led.code.lowerBound),
                steps: led.steps)
        }
    }

    func prove(_ random: inout TestRandom) throws -> LookupProof {
        var proof = try LookupProof(memory(before), memory(after), at: text, frames: frames)
        for led in led { try proof.check(led, &random) }
        return proof
    }
}

extension LookupTable {
    fileprivate static func bytes(of frames: [UInt32]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (page, frame) in frames.enumerated() {
            bytes.append(littleEndian: (Int64(frame) - Int64(page)) * Int64(pageSize))
        }
        bytes.append(littleEndian: UInt64(0))
        bytes.append(littleEndian: UInt64(frames.count))
        return bytes
    }
}

struct ModuleRewriterTests {
    private func rewritten(_ body: String, _ random: inout TestRandom, data: String = "") throws -> Rewritten {
        let scratch = try Scratch()
        let text = moduleObjects + "FUNCTION(start): \(body)\nEND(start)\n.data\n\(data)\n"
        try write(assemble(text), to: scratch["module.ko"])
        return try Rewritten(scratch["module.ko"], &random)
    }

    @Test(arguments: [
        ("mov phys_base(%rip), %rax; add %rdi, %rax; shr $12, %rax; ret", 1),
        ("add phys_base(%rip), %rdi; mov %rdi, inside(%rip); ret", 1),
        // Copies name what the originals name: of the module, and of others.
        ("mov phys_base(%rip), %rax; mov inside+16(%rip), %rdx; movl $7, room+8(%rip); add %rdi, %rax; ret", 1),
        ("mov phys_base(%rip), %rax; mov $inside+4, %rdx; add %rdi, %rax; ret", 1),
        ("mov $elsewhere+0x80000000, %rdi; mov phys_base(%rip), %rax; add %rdi, %rax; ret", 1),
        ("mov phys_base(%rip), %rax; mov elsewhere+24(%rip), %rdx; add %rdi, %rax; ret", 1),
        ("mov phys_base(%rip), %rax; jc 1f; add $1, %rcx; 1: add %rdi, %rax; jc 1b; ret", 1),
        ("mov phys_base(%rip), %rax; mov %rax, %rcx; add %rdi, %rax; add %rsi, %rcx; ret", 2),
        ("test %rsi, %rsi; je 1f; mov $1, %eax; 2: add %rax, %rdi; ret; 1: mov phys_base(%rip), %rax; jmp 2b", 1),
    ])
    func theFileThatWasWrittenAddsTheDifference(body: String, places: Int) throws {
        var random = TestRandom()
        let module = try rewritten(body, &random)
        #expect(module.module.left.isEmpty && module.sites.allSatisfy { $0.whyNotRewritten == nil })
        let proof = try module.prove(&random)
        #expect(proof.findings.isEmpty, TestRandom.comment("\(body): \(proof.findings.prefix(3))"))
        #expect(proof.moved.count == places, TestRandom.comment(body))
        #expect(module.after.module == ModuleRemarks())
    }

    @Test(
        arguments: [
            ("nop; mov phys_base(%rip), %rax; add %rdi, %rax; ret", ".quad start", nil),
            ("mov phys_base(%rip), %rax; 1: add %rdi, %rax; ret", ".quad 1b", "data of the module name the code there"),
            (
                "mov phys_base(%rip), %rax; add %rdi, %rax; ret", ".long start - .",
                "data of the module name the code there"
            ),
            (
                "mov phys_base(%rip), %rax; movabs $inside, %rdx; add %rdi, %rax; ret", "",
                "an absolute address stands in the code there"
            ),
            ("mov phys_base(%rip), %rax; add (%rsi), %rax; ret", "", "the address is in memory"),
        ] as [(String, String, String?)])
    func whatCannotBeLedElsewhereIsLeft(body: String, data: String, reason: String?) throws {
        var random = TestRandom()
        let module = try rewritten(body, &random, data: data)
        let reasons = module.module.left.map(\.reason) + module.sites.compactMap(\.whyNotRewritten)
        #expect(reasons == [reason].compactMap { $0 })
        #expect(module.module.file.isEmpty == (reason != nil))
    }

    /// A relocation that leads elsewhere shows.
    @Test func mistakesShow() throws {
        var random = TestRandom()
        let scratch = try Scratch()
        let body = "mov phys_base(%rip), %rax; mov elsewhere+16(%rip), %rdx; add %rdi, %rax; ret"
        try write(
            assemble(moduleObjects + "FUNCTION(start): \(body)\nEND(start)\n"), to: scratch["module.ko"])
        let image = try KernelImage.open(scratch["module.ko"])
        let right = try Rewritten(scratch["module.ko"], &random)
        #expect(try right.prove(&random).findings.isEmpty)
        // The last leads back: what runs from elsewhere ends nowhere.
        #expect(right.module.edits.codeRelocations.count == 4)
        for number in right.module.edits.codeRelocations.indices.dropLast() {
            var edits = right.module.edits
            let old = edits.codeRelocations[number]
            edits.codeRelocations[number] = ObjectEdits.Relocation(
                offset: old.offset, type: old.type, symbol: old.symbol, addend: old.addend + 8)
            let wrong = right.with(try module(image.object(with: edits)))
            #expect(try !wrong.prove(&random).findings.isEmpty, TestRandom.comment("relocation \(number)"))
        }
    }

    /// A rewritten module says another version of phys_base, and a module of another kernel is refused.
    @Test func otherKernelsRefuseIt() throws {
        let scratch = try Scratch()
        let body = "mov phys_base(%rip), %rax; add %rdi, %rax; shr $12, %rax; ret"
        let versions = ".quad 1; .asciz \"other\"; .skip 50; .quad 0x12345678; .asciz \"phys_base\"; .skip 46"
        try write(
            assemble(
                moduleObjects + "FUNCTION(start): \(body)\nEND(start)\n.section __versions, \"a\"\n\(versions)\n"),
            to: scratch["module.ko"])
        let image = try KernelImage.open(scratch["module.ko"])
        let subject = try AuditSubject.module(image)
        let text = VirtualAddress(0xffff_ffff_8100_0000)
        var lookups = KernelLookups(text: text, table: text + 0x2000, pages: 64, physBase: text + 0x3000)
        let sites = TranslationSites(subject).sites.compactMap(\.rewritten)
        let version = lookups.version(from: 0x1234_5678)
        #expect(version.own != version.original)
        let other = KernelLookups(text: text, table: text + 0x2008, pages: 64, physBase: text + 0x3000)
        #expect(other.version(from: 0x1234_5678) != version)
        lookups.version = version
        let made = try RewrittenModule.make(image, subject.laidOut, sites, lookups, name: subject.functionName)
        let after = try #require(try module(made.file).sections.first { $0.name == "__versions" }).bytes
        var expected = try #require(subject.sections.first { $0.name == "__versions" }).bytes
        expected.store(littleEndian: version.own, at: 64)
        #expect(after == expected)
        lookups.version = lookups.version(from: 0x1234_5679)
        #expect(throws: RewriteError.self) {
            try RewrittenModule.make(image, subject.laidOut, sites, lookups, name: subject.functionName)
        }
    }

    /// Modules of Debian's cloud kernel that translate: some, or all if KPERM_REWRITE_MODULES is set.
    @Test(.enabled(if: !isOffline, "KPERM_OFFLINE is set")) func modulesOfDebian() throws {
        let directory = try #require(try fetchKernel("cloud", "--modules")["modules"])
        var random = TestRandom()
        var (modules, sites, places, runs) = (0, 0, 0, 0)
        var paths = try FileManager.default.subpathsOfDirectory(atPath: directory).filter { path in
            guard path.hasSuffix(".ko") else { return false }
            return try KernelImage.open("\(directory)/\(path)").namesPhysBase()
        }.sorted()
        #expect(paths.count > 12)
        if ProcessInfo.processInfo.environment["KPERM_REWRITE_MODULES"] == nil {
            paths = Array(paths.shuffled(using: &random).prefix(12))
        }
        for path in paths {
            let file = "\(directory)/\(path)"
            let module = try Rewritten(file, &random)
            modules += 1
            sites += module.sites.count
            places += module.module.places
            let left = module.module.left.map { (module.subject.describe($0.address), $0.reason) }
            for (place, reason) in left { print("\(path): \(place): \(reason)") }
            for site in module.sites { if let why = site.whyNotRewritten { print("\(path): \(site.place): \(why)") } }
            let proof = try module.prove(&random)
            runs += proof.runs
            #expect(proof.findings.isEmpty, TestRandom.comment("\(path): \(proof.findings.prefix(3))"))
            #expect(proof.moved.count == module.module.places, TestRandom.comment(path))
            #expect(module.after.module == module.subject.module)
        }
        print("\(modules) modules, \(sites) sites, \(places) places, proved by \(runs) runs")
        #expect(places >= modules)
    }
}
