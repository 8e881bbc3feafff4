// SPDX-License-Identifier: MIT

// Which pins go when translations ask a table, and which do not: each must stay as
// long as one of its users may take the page's frame for the linear one.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import HazardAudit
@testable import KernelRewrite

/// A linked kernel of a few functions with pages that it names physically.
private final class Subject {
    let image: KernelImage
    let analysis: KernelAnalysis
    let translations: Translations
    private let table: SymbolTable

    init(_ functions: String) throws {
        let source = """
            \(functions)
            FUNCTION(writer): mov %rdi, (%rsi); ret
            END(writer)
            FUNCTION(clearer): xor %edi, %edi; mov %rsi, (%rax); ret
            END(clearer)
            .data
            .balign 4096
            .type object, @object; object: .skip 4096; .size object, 4096
            .type crossing, @object; crossing: .skip 8192; .size crossing, 8192
            .type bm_pte, @object; bm_pte: .skip 4096; .size bm_pte, 4096
            .type idt_table, @object; idt_table: .skip 4096; .size idt_table, 4096
            .type tsc_pg, @object; tsc_pg: .skip 4096; .size tsc_pg, 4096
            .globl phys_base; .type phys_base, @object
            phys_base: .quad 0; .size phys_base, 8
            """
        let scratch = try Scratch()
        image = try KernelImage.open(try linkKernel(source, in: scratch))
        table = try #require(try image.symbolTable())
        let names = Rules.allSymbols.union(["object", "crossing"])
        let symbols = KernelSymbols(table, of: image, names: names)
        let map = try PageMap(
            image, from: symbols.require("_text", for: "").address, to: symbols.require("_end", for: "").address)
        let index = table.index(over: map.virtualRange)
        let data = DataObjects(index, table, image, largest: 4096, largestArray: 4096, largestStack: 4096)
        let constants = try PhysicalConstants(image, map, table, index, symbols, data)
        let (pins, grounds) = X86_64.objects(map, symbols, image)
        let first = try #require(map.page(of: try symbols.require("object", for: "").address))
        analysis = KernelAnalysis(
            architecture: .x86, release: nil, build: nil, map: map,
            classes: [PageClass(name: "data", ranges: [first..<first + 6])], exclusions: [],
            pins: constants.pins + pins, grounds: constants.grounds + grounds, translated: [], remarks: [],
            stubEnd: map.virtualBase, rootTable: nil, earlyFunctions: [], handedOver: [], symbols: symbols,
            index: index, data: data)
        let bytes = try readBytes(image.path)
        let sections = image.sections.filter { $0.isAllocated && $0.size > 0 && !$0.isNoBits }.map { section in
            AuditSubject.Section(
                name: section.name, address: section.address, size: section.size,
                bytes: Array(bytes[Int(section.offset)..<Int(section.offset + section.size)]),
                isExecutable: section.isExecutable, isWritable: section.flags & 1 != 0)
        }
        var labels: [String] = []
        for symbol in table.symbols { labels.append(table.name(of: symbol, in: image)) }
        let sites = TranslationSites(
            AuditSubject(
                file: image.path, sections: sections, symbols: Array(table.symbols), names: labels, index: index,
                kernel: analysis))
        translations = sites.translations
    }

    /// Whether the pages of an object are pinned when all that can ask a table does, but for some sites.
    func isPinned(_ name: String, exports: [String] = [], asking: ((VirtualAddress) -> Bool)? = nil) throws -> Bool {
        let object = try #require(analysis.symbols.optional(name)).range
        let pages = analysis.map.pages(of: object)
        let before = Set(analysis.pins.flatMap(\.pages))
        #expect(before.isSuperset(of: pages), "\(name) is not pinned at all")
        let sites = Set(translations.rewritable.map(\.address).filter { asking?($0) ?? true })
        let exports = try exports.map { try #require(analysis.symbols.optional($0)).address }
        let after = PinRelease.release(analysis, image, sites, exports, translations)
        #expect(
            Set(after.pins.flatMap(\.pages)).union(after.released.flatMap(\.pin.pages)) == before,
            "a pin is held or released")
        return !Set(after.pins.flatMap(\.pages)).isDisjoint(with: pages)
    }
}

struct PinReleaseTests {
    private static func function(_ name: String, _ body: String) -> String {
        "FUNCTION(\(name)): \(body)\nEND(\(name))\n"
    }

    private static let asks = "movabs $PA(object), %rsi; add phys_base(%rip), %rsi; shr $12, %rsi; ret"

    @Test(arguments: [
        asks,
        "movabs $PA(object), %rdi; mov phys_base(%rip), %rax; add %rdi, %rax; ret",
        "movabs $PA(object), %rdi; mov phys_base(%rip), %rax; add %rdi, %rax; mov %rax, %rsi; call clearer; ret",
        "mov $0x80000000, %ebx; add $object, %rbx; mov phys_base(%rip), %rsi; add %rbx, %rsi; mov %rsi, %cr3; pop %rbx; ret",
        "movabs $PA(object), %rdi; test %rax, %rax; je 1f; xor %edi, %edi; 1: mov phys_base(%rip), %rax; add %rdi, %rax; ret",
    ])
    func constantThatAsks(body: String) throws {
        let kernel = try Subject(Self.function("start", body))
        #expect(try !kernel.isPinned("object"))
        // Each of its sites is needed.
        for site in kernel.translations.rewritable.map(\.address) {
            #expect(try kernel.isPinned("object") { $0 != site }, "\(body): \(site) asks no table")
        }
    }

    /// Something else is made of the constant, or may be.
    @Test(arguments: [
        "movabs $PA(object), %rsi; mov %rsi, (%rdi); add phys_base(%rip), %rsi; shr $12, %rsi; ret",
        "movabs $PA(object), %rdi; mov phys_base(%rip), %rax; add %rdi, %rax; mov %rax, %rsi; call writer; ret",
        "movabs $PA(object), %rdi; mov phys_base(%rip), %rax; add %rdi, %rax; mov %rax, %rsi; call *%rax; ret",
        "movabs $PA(object), %rdi; mov phys_base(%rip), %rax; add %rdi, %rax; mov %rax, %rsi; jmp writer",
        "movabs $PA(object), %rax; test %rdi, %rdi; je 1f; add phys_base(%rip), %rax; 1: ret",
        "movabs $PA(object), %rdi; mov phys_base(%rip), %rax; add %rdi, %rax; push %rdi; ret",
        "movabs $PA(object), %rcx; mov phys_base(%rip), %rax; add %rcx, %rax; rep stosq; ret",
        "movabs $PA(object), %rdi; mov phys_base(%rip), %rax; add %rdi, %rax; lea (%rdi,%rdi), %rdx; ret",
    ])
    func anotherUse(body: String) throws {
        #expect(try Subject(Self.function("start", body)).isPinned("object"))
    }

    @Test(arguments: [
        "movabs $PA(object), %rax; mov %rax, (%rdi); ret",
        "mov $0x80000000, %eax; add $object, %rax; ret",
        "movabs $PA(object), %rsi; sub phys_base(%rip), %rsi; ret",
    ])
    func anotherUser(body: String) throws {
        let kernel = try Subject(Self.function("start", Self.asks) + Self.function("other", body))
        #expect(try kernel.isPinned("object"))
    }

    @Test func whatModulesTranslate() throws {
        let kernel = try Subject(Self.function("start", Self.asks))
        #expect(try kernel.isPinned("object", exports: ["object"]))
        #expect(try !kernel.isPinned("object", exports: ["crossing"]))
    }

    /// The frames of what follows the first page are taken to follow, too.
    @Test func moreThanAPage() throws {
        let body = Self.asks.replacingOccurrences(of: "object", with: "crossing")
        #expect(try Subject(Self.function("start", body)).isPinned("crossing"))
    }

    private static let installs =
        "mov $0x80000000, %ebx; nopw 0x1234(%rax,%rax); mov $bm_pte, %rdx; mov phys_base(%rip), %rsi; add %rdx, %rbx; "
        + "add %rbx, %rsi; mov %rsi, %cr3; mov phys_base(%rip), %rax; lea (%rbx,%rax), %rdi; mov %rdi, %cr3; pop %rbx; ret"

    /// A rule demands nothing when all that its functions translate asks, and else what it did.
    @Test func rules() throws {
        let kernel = try Subject(Self.function("start", "ret") + Self.function("early_ioremap_init", Self.installs))
        #expect(kernel.translations.rewritable.count == 2)
        #expect(try !kernel.isPinned("bm_pte"))
        for site in kernel.translations.rewritable.map(\.address) {
            #expect(try kernel.isPinned("bm_pte") { $0 != site }, "\(site) asks no table")
        }
        // The function of this one is not there, and that one is a hypervisor's.
        #expect(try kernel.isPinned("idt_table"))
        #expect(try kernel.isPinned("tsc_pg"))
    }

    /// A function that translates besides what cannot ask.
    @Test func ruleWithASiteThatIsLeft() throws {
        let more = Self.installs.replacingOccurrences(of: "pop %rbx", with: "sub phys_base(%rip), %rcx; pop %rbx")
        let kernel = try Subject(Self.function("start", "ret") + Self.function("early_ioremap_init", more))
        #expect(kernel.translations.rewritable.count == 2 && kernel.translations.left.count == 1)
        #expect(try kernel.isPinned("bm_pte"))
    }

    /// As long as it is not known what a translation reaches that asks no table, nothing goes.
    @Test(arguments: [("stranger", false), ("init_real_mode", true)])
    func translationsThatAreLeft(function: String, isKnown: Bool) throws {
        let kernel = try Subject(
            Self.function("start", Self.asks) + Self.function(function, "sub phys_base(%rip), %rdi; ret"))
        #expect(kernel.translations.left.count == 1)
        let place = kernel.analysis.map.virtualBase
        let map = kernel.analysis.map
        let detours = Detour.all(kernel.translations.rewritable).detours
        let lookups = KernelLookups(text: place, table: place + 0x10000, pages: map.pageCount, physBase: place)
        var noNotes: NotePayload?
        let code = Rewriter.code(
            detours, behind: [], at: place + 0x10000, lookups, map.originals(of: detours, in: kernel.image), nil,
            &noNotes
        ) { _ in nil }
        let room = Change(fileOffset: 0, address: place, before: [], after: [], reason: "", evidence: "")
        let rewriting = Rewriting(
            code, lookups: lookups, instrumentation: nil, frameTests: nil, room: room, leads: [])
        let after = PinRelease.release(kernel.analysis, kernel.image, rewriting, kernel.translations)
        #expect(after.released.isEmpty == !isKnown)
        #expect((after.whyNoneReleased == nil) == isKnown)
    }
}

/// The same on Debian's cloud kernel.
@Suite(.enabled(if: !isOffline, "KPERM_OFFLINE is set"))
struct DebianPinReleaseTests {
    @Test func eachSiteOfAReleasedPinIsNeeded() throws {
        let image = try KernelImage.open(try #require(try fetchKernel("cloud", "--debug")["vmlinux_stripped"]))
        let analysis = try KernelAnalysis.of(image)
        let translations = TranslationSites(try AuditSubject.kernel(image)).translations
        var request = Request()
        request.rewrites = true
        let plan = try RewritePlan.draw(image, request, rewriting: translations)
        let rewriting = try #require(plan.rewriting)
        #expect(plan.analysis.whyNoneReleased == nil)
        #expect(plan.analysis.pinnedPages < analysis.pinnedPages)

        let listed = Exports.addresses(analysis.map, image)
        let exports = try #require(listed)
        let zeroPage = try #require(analysis.symbols.optional("empty_zero_page")).address
        #expect(exports.contains(zeroPage))
        let asking = Set(rewriting.places.flatMap(\.sites)).subtracting(rewriting.left.map(\.address))
        let released = Set(plan.analysis.releasedPages.joined())
        func pinned(_ asking: Set<VirtualAddress>) -> Set<Int> {
            Set(PinRelease.release(analysis, image, asking, exports, translations).pins.flatMap(\.pages))
        }
        #expect(pinned(asking).isDisjoint(with: released))
        #expect(pinned([]) == Set(analysis.pins.flatMap(\.pages)))

        // Whatever names one of these pages, or may translate it by a rule, and does not ask, holds it.
        for ground in analysis.grounds {
            let pages = Set(analysis.map.pages(of: ground.object))
            guard !pages.isDisjoint(with: released) else { continue }
            var sites: Set<VirtualAddress> = []
            switch ground.user {
            case .fixed: Issue.record("\(ground.object) is released, and stays")
            case .named(let place): sites = try #require(translations.askers[place])
            case .functions(let names, _):
                for place in names.flatMap({ analysis.symbols.all($0) }) {
                    sites.formUnion(asking.filter { place.range.contains($0) })
                }
            }
            #expect(!sites.isEmpty)
            for site in sites {
                #expect(pinned(asking.subtracting([site])).isSuperset(of: pages), "\(ground.object) without \(site)")
            }
        }
    }
}
