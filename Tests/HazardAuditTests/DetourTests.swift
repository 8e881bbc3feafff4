// SPDX-License-Identifier: MIT

// Instrumented code run on this machine, beside the same code as it was: the
// same registers, flags and memory, and notes of each address that it translated.

#if arch(x86_64)
    import Addressing
    import Disassembly
    import Foundation
    import KernelImage
    import PagePermutation
    import TestSupport
    import Testing

    @testable import HazardAudit
    @testable import KernelRewrite

    /// A linked kernel of one function, as it is and instrumented.
    private struct Instrumented {
        /// Where Tests/Fixtures/detour-driver.c puts `_text`.
        static let base: UInt64 = 0x7e00_0000_0000
        private static let startKernelMap: UInt64 = 0xffff_ffff_8000_0000
        private static let driver = Result {
            let scratch = try Scratch()
            try runTool(
                "clang", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread",
                "\(checkout)/Tests/Fixtures/detour-driver.c", "-o", scratch["driver"])
            return scratch
        }

        let sites: [TranslationSite]
        let plan: Instrumentation
        /// The order that translations ask for, if they do.
        let order: TranslationTable?
        private let before: [UInt8]
        private let after: [UInt8]
        private let start: Int
        private let virtualBase: VirtualAddress

        /// - Parameter table: what translations ask, for an order; nil where they ask nothing.
        init(_ body: String, asking table: ((TranslationTable) -> [UInt8])? = nil) throws {
            let assembler = """
                FUNCTION(start): \(body)
                END(start)
                .section .other, "ax"
                .globl room; room: .skip 0x1000, 0xcc
                .data
                .balign 4096
                .globl notes; notes: .skip \(Instrumentation.byteCount(looks: 8))
                .globl object; object: .skip 0x20000
                """
            let scratch = try Scratch()
            let subject = try subject(assembler, in: scratch)
            let image = try KernelImage.open(subject.file)
            func address(_ name: String) throws -> VirtualAddress {
                try #require(subject.symbols(named: name).first?.value)
            }
            virtualBase = try address("_text")
            let map = try PageMap(image, from: virtualBase, to: try address("_end"))
            let found = TranslationSites(subject)
            sites = found.sites
            let notes = try address("notes")
            let observed = found.observable(asking: table != nil)
            let asking = table == nil ? [] : found.sites.compactMap(\.rewritten)
            let looks = (observed + asking).reduce(0) { $0 + $1.looks.count }
            var plan = Instrumentation(range: notes..<notes + UInt64(Instrumentation.byteCount(looks: looks)))
            let room = try address("room")
            let code: [UInt8]
            if let table {
                // The kernel's own pages stay, so that it runs where it is.
                let object = Int(try address("object") - virtualBase) / pageSize
                let frames = Array(0..<UInt32(object)) + (UInt32(object)..<UInt32(map.pageCount)).reversed()
                let problem = try PermutationProblem(
                    pageCount: map.pageCount,
                    classes: [PageClass(name: "data", ranges: [object..<map.pageCount])])
                let made = TranslationTable(
                    try Permutation(forward: frames, for: problem), virtualBase: VirtualAddress(Self.base),
                    physicalBase: PhysicalAddress(Self.base &- Self.startKernelMap))
                order = made
                let lookups = Detour.all(asking).detours
                let others = Detour.merged(observed).filter { other in lookups.allSatisfy(other.isApart) }
                let detours = lookups + others.map(\.asksNothing)
                let originals = map.originals(of: detours, in: image)
                let asked = table(made)
                let recorder = room + UInt64(asked.count)
                var notes: NotePayload? = NotePayload(entry: recorder + UInt64(RecordCode.entry))
                let rewritten = Rewriter.code(
                    detours, behind: asked + Instrument.recorder(at: recorder, map, plan), at: room,
                    KernelLookups(text: virtualBase, table: room, pages: map.pageCount, physBase: virtualBase),
                    originals,
                    nil, &notes
                ) { _ in nil }
                plan.notes = try #require(notes).notes
                plan.changes = rewritten.leads(map, originals, reason: "test")
                plan.left = rewritten.left
                code = rewritten.bytes
            } else {
                order = nil
                code = Instrument.code(Detour.merged(observed), at: room, map, image, &plan) { _ in nil }
            }
            var memory: [UInt8] = []
            for page in 0..<map.pageCount { memory += map.contents(of: page, in: image) }
            before = memory
            for change in plan.changes {
                guard let place = change.address else { continue }
                let offset = Int(place - virtualBase)
                memory.replaceSubrange(offset..<offset + change.after.count, with: change.after)
            }
            let offset = Int(room - virtualBase)
            memory.replaceSubrange(offset..<offset + code.count, with: code)
            after = memory
            start = Int(try address("start") - virtualBase)
            self.plan = plan
        }

        /// The object's address in the two forms that a kernel adds the offset to.
        func physicalForm(_ offset: UInt64) -> UInt64 { virtualForm(offset) &- Self.startKernelMap }
        func virtualForm(_ offset: UInt64) -> UInt64 { Self.base + UInt64(after.count) - 0x20000 + offset }

        struct Outcome {
            var registers: [UInt64]
            var memory: [UInt8]
        }

        func run(_ registers: [UInt64], instrumented: Bool, repeats: Int = 1, threads: Int = 1) throws -> Outcome {
            let scratch = try Scratch()
            try TestSupport.write(instrumented ? after : before, to: scratch["image"])
            let words = [scratch["image"], "\(start)", "\(repeats)", "\(threads)", scratch["after"]]
            let driver = try Self.driver.get()["driver"]
            let text = try runTool([driver] + words + registers.map { String($0, radix: 16) })
            return Outcome(
                registers: text.split(separator: "\n").compactMap { UInt64($0, radix: 16) },
                memory: try readBytes(scratch["after"]))
        }

        func notes(_ memory: [UInt8]) throws -> [Instrumentation.Observation] {
            let first = Int(plan.range.lowerBound - virtualBase)
            return try #require(plan.read(Array(memory[first..<Int(plan.range.upperBound - virtualBase)])))
        }

        /// The memory without the notes, the copies and what leads there.
        func rest(_ memory: [UInt8]) -> [UInt8] {
            var rest = memory
            for (offset, byte) in before.enumerated() where after[offset] != byte { rest[offset] = 0 }
            let first = Int(plan.range.lowerBound - virtualBase)
            for offset in first..<Int(plan.range.upperBound - virtualBase) { rest[offset] = 0 }
            return rest
        }
    }

    struct DetourTests {
        /// Any registers and flags, with one of them set.
        private func registers(_ random: inout TestRandom, _ number: Int, _ value: UInt64) -> [UInt64] {
            var registers = (0..<17).map { _ in UInt64.random(in: .min ... .max, using: &random) }
            registers[16] = registers[16] & 0xcd5 | 0x202
            registers[number] = value
            return registers
        }

        private static let rdi = 7

        /// What is noted of a call with an address in rdi, offsets from it, besides that nothing else changes.
        @Test(arguments: [
            ("mov phys_base(%rip), %rax; add %rdi, %rax; ret", [0]),
            ("add phys_base(%rip), %rdi; ret", [0]),
            ("mov phys_base(%rip), %rax; lea 16(%rdi,%rax), %rcx; ret", [16]),
            ("test %rdi, %rdi; mov %rsi, %rax; cmovne phys_base(%rip), %rax; setc %cl; add %rdi, %rax; ret", [0]),
            ("mov phys_base(%rip), %rax; lea 24(%rdi), %r12; mov object(%rip), %rdx; add %r12, %rax; ret", [24]),
            ("mov phys_base(%rip), %rax; push %rdi; pop %rbx; add %rax, %rbx; ret", [0]),
            (
                "mov phys_base(%rip), %rax; mov phys_base(%rip), %rcx; add %rdi, %rax; lea 8(%rdi), %rdx; "
                    + "add %rdx, %rcx; ret", [0, 8]
            ),
            (
                "mov phys_base(%rip), %rax; mov $3, %ecx; 1: lea (%rdi,%rax), %rdx; add $4096, %rdi; dec %ecx; jne 1b; ret",
                [0, 4096, 8192]
            ),
            (
                "mov phys_base(%rip), %r13; test %rdi, %rdi; je 1f; lea 8(%rdi), %r15; add %r15, %r13; add $1, %r15; ret; "
                    + "1: add %rsi, %r13; ret", [8]
            ),
            ("mov phys_base(%rip), %rax; cmp %rsi, %rdi; lea 1(%rdi), %r8; lea (%r8,%rax), %rcx; setb %al; ret", [1]),
        ])
        func sameOutcomeAndANote(body: String, noted: [UInt64]) throws {
            let kernel = try Instrumented(body)
            #expect(kernel.plan.left.isEmpty, "\(kernel.plan.left)")
            #expect(kernel.sites.allSatisfy { $0.whyNotObserved == nil }, "\(kernel.sites)")
            var random = TestRandom()
            for form in [kernel.physicalForm(0x100), kernel.virtualForm(0x100)] {
                let given = registers(&random, Self.rdi, form)
                let plain = try kernel.run(given, instrumented: false)
                let watched = try kernel.run(given, instrumented: true)
                #expect(plain.registers.count == 17 && plain.registers == watched.registers, TestRandom.comment(body))
                #expect(kernel.rest(plain.memory) == kernel.rest(watched.memory), TestRandom.comment(body))
                let notes = try kernel.notes(watched.memory)
                let first = kernel.virtualForm(0x100) - Instrumented.base
                let seen = notes.flatMap(\.addresses)
                #expect(seen.map(\.offset).sorted() == noted.map { first + $0 }, TestRandom.comment(body))
                #expect(seen.allSatisfy { $0.count == 1 } && notes.allSatisfy { $0.lost == 0 })
            }
        }

        /// The addresses that are asked for, offsets from the one in rdi, and what came out, with nothing else changed but
        /// by the difference of the page's frame.
        @Test(arguments: [
            ("mov phys_base(%rip), %rax; add %rdi, %rax; ret", [0], 0),
            ("add phys_base(%rip), %rdi; ret", [7], 0),
            ("mov phys_base(%rip), %rax; lea 16(%rdi,%rax), %rcx; ret", [1], 16),
            ("mov phys_base(%rip), %rax; cmp %rsi, %rdi; lea (%rdi,%rax), %rdx; setb %cl; ret", [2], 0),
            ("mov phys_base(%rip), %rax; add %rdi, %rax; mov %rax, %rdx; ret", [0, 2], 0),
        ])
        func whatComesOutIsNoted(body: String, results: [Int], displacement: UInt64) throws {
            let kernel = try Instrumented(body, asking: LookupTable.bytes)
            let order = try #require(kernel.order)
            #expect(kernel.plan.left.isEmpty && kernel.sites.allSatisfy { $0.rewritten != nil }, "\(kernel.sites)")
            var random = TestRandom()
            for form in [kernel.physicalForm(0x1100), kernel.virtualForm(0x1100)] {
                let given = registers(&random, Self.rdi, form)
                let plain = try kernel.run(given, instrumented: false)
                let watched = try kernel.run(given, instrumented: true)
                let address = VirtualAddress(kernel.virtualForm(0x1100)) + displacement
                let frame = try #require(order.physicalAddress(of: address))
                let difference = frame.rawValue &- address.rawValue &+ 0xffff_ffff_8000_0000
                #expect(difference != 0 && difference % UInt64(pageSize) == 0)
                for number in 0..<17 where number != 4 {
                    let added = results.contains(number) ? difference : 0
                    #expect(
                        watched.registers[number] == plain.registers[number] &+ added,
                        TestRandom.comment("\(body): register \(number)"))
                }
                #expect(kernel.rest(plain.memory) == kernel.rest(watched.memory), TestRandom.comment(body))
                let notes = try kernel.notes(watched.memory)
                let seen = notes.flatMap(\.addresses)
                #expect(seen.map(\.offset) == [address.rawValue - Instrumented.base], TestRandom.comment(body))
                #expect(seen.allSatisfy { $0.count == 1 && $0.others == 0 }, TestRandom.comment(body))
                #expect(notes.allSatisfy { $0.note.hasResult(seen[0].result, for: frame) }, TestRandom.comment(body))
            }
        }

        /// A table that is wrong shows in what came out, and so does one that changes.
        @Test func wrongResultsAreNoted() throws {
            let body = "mov phys_base(%rip), %rax; add %rdi, %rax; add %rsi, phys_base(%rip); ret"
            let kernel = try Instrumented(body) { order in
                var bytes = LookupTable.bytes(order)
                let page = order.pageCount - 2
                bytes[8 * page + 1] ^= 0x10
                return bytes
            }
            let order = try #require(kernel.order)
            var random = TestRandom()
            for (offset, isRight) in [(UInt64(0x1d000), true), (0x1e000, false), (0x1f000, true)] {
                var given = registers(&random, Self.rdi, kernel.virtualForm(offset))
                given[6] = 0x1000
                let memory = try kernel.run(given, instrumented: true, repeats: 3).memory
                let seen = try #require(try kernel.notes(memory).first { $0.note.asksTable })
                let address = VirtualAddress(kernel.virtualForm(offset))
                let frame = try #require(order.physicalAddress(of: address))
                let noted = try #require(seen.addresses.first)
                #expect(seen.note.hasResult(noted.result, for: frame) == isRight, TestRandom.comment("\(offset.hex)"))
                #expect(noted.count == 3 && noted.others == 2)
            }
        }

        /// What comes out of a physical address is noted behind that.
        @Test func theWayBackIsNoted() throws {
            let kernel = try Instrumented("sub phys_base(%rip), %rdi; mov %rdi, %rax; ret")
            var random = TestRandom()
            let given = registers(&random, Self.rdi, kernel.physicalForm(0x2000))
            let notes = try kernel.notes(kernel.run(given, instrumented: true).memory)
            #expect(notes.flatMap(\.addresses).map(\.offset) == [kernel.virtualForm(0x2000) - Instrumented.base])
        }

        /// An address that is none of the image's is counted, and not kept.
        @Test func otherAddressesAreCountedOnly() throws {
            let kernel = try Instrumented("mov phys_base(%rip), %rax; add %rdi, %rax; ret")
            var random = TestRandom()
            let others = [0, kernel.virtualForm(0x20000), kernel.physicalForm(0x20000), Instrumented.base - 1]
            for address in others {
                let given = registers(&random, Self.rdi, address)
                let notes = try kernel.notes(kernel.run(given, instrumented: true).memory)
                #expect(notes.map(\.reached) == [1] && notes.map(\.ofImage) == [0], TestRandom.comment("\(address)"))
                #expect(notes.flatMap(\.addresses).count == 0)
            }
        }

        /// More addresses than there are slots: those that found none are counted.
        @Test func whatFindsNoSlotIsCounted() throws {
            let kernel = try Instrumented(
                "mov phys_base(%rip), %rax; 1: lea (%rdi,%rax), %rdx; add $8, %rdi; dec %rcx; jne 1b; ret")
            var random = TestRandom()
            var given = registers(&random, Self.rdi, kernel.physicalForm(0))
            given[1] = 12_000
            let notes = try kernel.notes(kernel.run(given, instrumented: true).memory)
            let seen = try #require(notes.first)
            #expect(seen.ofImage == 12_000 && seen.lost > 0)
            #expect(seen.addresses.reduce(seen.lost) { $0 + $1.count } == 12_000)
        }

        /// CPUs that note at the same time lose nothing.
        @Test func severalAtATime() throws {
            let kernel = try Instrumented(
                "mov phys_base(%rip), %rax; 1: lea (%rdi,%rax), %rdx; add $8, %rdi; dec %rcx; jne 1b; ret")
            var random = TestRandom()
            var given = registers(&random, Self.rdi, kernel.physicalForm(0))
            given[1] = 50
            let notes = try kernel.notes(
                kernel.run(given, instrumented: true, repeats: 5000, threads: 4).memory)
            let seen = try #require(notes.first)
            #expect(seen.reached == 1_000_000 && seen.ofImage == 1_000_000 && seen.lost == 0)
            #expect(seen.addresses.count == 50 && seen.addresses.allSatisfy { $0.count == 20_000 })
        }

        /// What cannot be led elsewhere is left as it is, and said so.
        @Test(arguments: [
            ("mov phys_base(%rip), %rax; 1: add %rdi, %rax; pop %rdi; jne 1b; ret", "no room for a jump to the note"),
            ("mov phys_base(%rip), %rax; add (%rsi), %rax; ret", "the address is in memory"),
        ])
        func whatCannotBeObserved(body: String, reason: String) throws {
            let kernel = try Instrumented(body)
            #expect(kernel.sites.map(\.whyNotObserved) == [reason])
            #expect(kernel.plan.changes.isEmpty)
        }

        /// Code that is not what the audit read is left alone.
        @Test func codeThatIsNotAsExpectedIsLeft() throws {
            let subject = try subject("FUNCTION(start): mov phys_base(%rip), %rax; add %rdi, %rax; ret\nEND(start)")
            let scratch = try Scratch()
            let other = try HazardAuditTests.subject(
                "FUNCTION(start): mov phys_base(%rip), %rcx; add %rdi, %rcx; ret\nEND(start)", in: scratch)
            let image = try KernelImage.open(other.file)
            let start = try #require(subject.symbols(named: "_text").first?.value)
            let map = try PageMap(image, from: start, to: start + 0x2000)
            var plan = Instrumentation(range: start..<start + UInt64(Instrumentation.byteCount(looks: 1)))
            let detours = Detour.merged(TranslationSites(subject).sites.compactMap(\.observed))
            _ = Instrument.code(detours, at: start + 0x1000, map, image, &plan) { _ in nil }
            #expect(plan.changes.isEmpty && plan.left.map(\.address) == [start])
        }
    }
#endif
