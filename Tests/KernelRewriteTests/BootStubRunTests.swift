// SPDX-License-Identifier: MIT

// The stub that permutes at boot, run in an ordinary process on a pretended
// machine (Tests/Fixtures/boot-stub-driver.c): what it draws is what the tool
// draws from the same seed, every page's contents end where its page tables
// say, the table it leaves is the tool's, and what it does not know it refuses.

#if arch(x86_64)
    import Addressing
    import Foundation
    import PagePermutation
    import SecureRandom
    import TestSupport
    import Testing

    @testable import KernelRewrite

    /// One boot of the pretended machine.
    private struct PretendedBoot {
        var seed: [UInt8]?
        var physical: UInt64 = 0x400_0000
        /// Where translations look the differences up, in bytes from the start of the image; 0: nowhere.
        var lookup: UInt64 = 0
        var options: [String] = []
        /// Changes the area's bytes, to spoil them.
        var change: (inout [UInt8]) -> Void = { _ in }

        struct Outcome {
            let fields: [String: String]
            let table: [UInt8]

            var state: String? { fields["state"] }
            var status: String { fields["status"] ?? "" }
            var sources: UInt32 { fields["sources"].flatMap(UInt32.init) ?? 0 }
            var frames: [UInt32] { numbers("frames") }
            /// The frames that rewritten translations come to.
            var lookedUp: [UInt32] { numbers("lookup") }

            private func numbers(_ field: String) -> [UInt32] {
                (fields[field] ?? "").split(separator: " ").compactMap { UInt32($0) }
            }
        }

        static let memory: UInt64 = 0x7e00_0000_0000

        var textAddress: VirtualAddress { VirtualAddress(Self.memory + physical) }

        func run(_ problem: PermutationProblem) throws -> Outcome {
            let scratch = try Scratch()
            var area = area(problem)
            change(&area)
            try Data(area).write(to: URL(fileURLWithPath: scratch["area"]))
            let words = [try BootStubDriver.shared.get().path, "boot", scratch["area"], scratch["table"]]
            let text = try run(words + ["physical=\(physical)"] + options)
            let lines = text.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1) }
            return Outcome(
                fields: Dictionary(uniqueKeysWithValues: lines.map { (String($0[0]), String($0[1])) }),
                table: try readBytes(scratch["table"]))
        }

        private func run(_ words: [String]) throws -> String {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: words[0])
            process.arguments = Array(words.dropFirst())
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
            process.waitUntilExit()
            guard process.terminationStatus == 0 else {
                throw ToolFailure(command: words.joined(separator: " "), output: text)
            }
            return text
        }

        /// A boot area as images/stub/x86_64/boot.h describes it, without code.
        private func area(_ problem: PermutationProblem) -> [UInt8] {
            var area = [UInt8](repeating: 0, count: 0x200)
            func put(_ number: some FixedWidthInteger, _ offset: Int) {
                for i in 0..<number.bitWidth / 8 { area[offset + i] = UInt8(truncatingIfNeeded: number >> (8 * i)) }
            }
            func pad(_ size: Int) { area += [UInt8](repeating: 0, count: (size - area.count % size) % size) }
            let records = area.count
            area += [UInt8](repeating: 0, count: 24 * problem.drawings.count)
            for (i, drawing) in problem.drawings.enumerated() {
                var fields = [area.count, drawing.domain.utf8.count]
                area += Array(drawing.domain.utf8)
                pad(4)
                for ranges in [drawing.granules, drawing.runs] {
                    fields += [area.count, ranges.count]
                    for number in ranges.flatMap({ [$0.lowerBound, $0.count] }) {
                        area += [0, 0, 0, 0]
                        put(UInt32(number), area.count - 4)
                    }
                }
                for (j, field) in fields.enumerated() { put(UInt32(field), records + 24 * i + 4 * j) }
            }
            pad(8)
            let provided = area.count
            let pages = problem.pageCount
            let first = Int(textAddress.rawValue) >> 21
            let tableCount = (Int(textAddress.rawValue) + pages * 4096 - 1) >> 21 - first + 1
            let status = area.count
            let table = status + 512
            let tables = (table + 40 + 8 * pages + 4095) & ~4095
            let work = tables + 4096 * tableCount
            let workBytes = (BootStubCode.workBytes(pages: pages) + 4095) & ~4095
            for (i, byte) in "KPERMBT1".utf8.enumerated() { area[i] = byte }
            put(UInt32(1), 0x08)
            put(UInt32(provided), 0x0c)
            put(UInt64(work + workBytes), 0x18)
            for (i, byte) in (seed ?? []).enumerated() { area[0x30 + i] = byte }
            let numbers = [seed == nil ? 0 : 1, pages, pages, problem.granule.pages]
            for (i, number) in numbers.enumerated() { put(UInt32(number), 0x100 + 4 * i) }
            put(UInt64(0xffff_ffff_8100_0000), 0x110)
            put(UInt64(0x100_0000), 0x118)
            let offsets = [problem.drawings.count, records, table, tables, status, work, workBytes]
            for (i, offset) in offsets.enumerated() { put(UInt32(offset), 0x14c + 4 * i) }
            put(lookup, 0x180)
            return area
        }
    }

    struct BootStubRunTests {
        /// SplitMix64 from a number that a failure prints and KPERM_TEST_SEED sets.
        private struct Random: RandomNumberGenerator {
            static let start =
                ProcessInfo.processInfo.environment["KPERM_TEST_SEED"].flatMap { UInt64($0) }
                ?? UInt64.random(in: .min ... .max)
            var state = start

            mutating func next() -> UInt64 {
                state &+= 0x9e37_79b9_7f4a_7c15
                var z = state
                z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
                z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
                return z ^ z >> 31
            }

            static func comment(_ what: String) -> Comment { Comment(rawValue: "KPERM_TEST_SEED=\(start) \(what)") }
        }

        /// Classes in pieces, some of no class, pins and glue anywhere.
        private func problem(_ granule: Granule, _ random: inout Random) throws -> PermutationProblem {
            let size = granule.pages
            let pageCount = Int.random(in: 1...(granule == .page2M ? 8 : 1500 / size) * size + 1, using: &random)
            var ranges = [[Range<Int>]](repeating: [], count: 4)
            var pieces: [Range<Int>] = []
            var page = 0
            while page < pageCount {
                let piece = page..<min(page + Int.random(in: 1...60, using: &random) * size, pageCount)
                let owner = Int.random(in: -1..<4, using: &random)
                if owner >= 0 {
                    ranges[owner].append(piece)
                    pieces.append(piece)
                }
                page = piece.upperBound
            }
            func part(of whole: Range<Int>, atMost: Int) -> Range<Int> {
                let first = Int.random(in: whole, using: &random)
                return first..<min(whole.upperBound, first + Int.random(in: 1...atMost, using: &random))
            }
            let pins = (0..<Int.random(in: 0...20 / size, using: &random)).map { _ in
                Pin(pages: part(of: 0..<pageCount, atMost: 3), reason: "random", evidence: "random")
            }
            let glue = (0..<Int.random(in: 0...30, using: &random)).compactMap { _ in
                pieces.randomElement(using: &random).map {
                    Glue(pages: part(of: $0, atMost: 6 * size), reason: "random")
                }
            }
            let names = ["text", "rodata", "data", "init"]
            return try PermutationProblem(
                pageCount: pageCount, classes: zip(names, ranges).map { PageClass(name: $0, ranges: $1) }, pins: pins,
                glue: glue, granule: granule)
        }

        private func seed(_ bytes: [UInt8]) throws -> Seed { try Seed.parse(hexadecimal: text(bytes)) }

        private func text(_ bytes: [UInt8]) -> String { bytes.map(hexadecimal).joined() }

        private func check(
            _ boot: PretendedBoot, _ problem: PermutationProblem, _ seedBytes: [UInt8], _ comment: Comment
        ) throws {
            let outcome = try boot.run(problem)
            let permutation = try Permutation.draw(problem, seed: seed(seedBytes))
            let table = TranslationTable(
                permutation, virtualBase: boot.textAddress, physicalBase: PhysicalAddress(boot.physical),
                isBaked: false)
            #expect(outcome.state == "1 1", comment)
            #expect(outcome.frames == permutation.forward, comment)
            #expect(outcome.table == table.bytes, comment)
            #expect(outcome.lookedUp == (boot.lookup == 0 ? [] : permutation.forward), comment)
            #expect(outcome.fields["moved"] == "\(table.movedCount)", comment)
            #expect(outcome.fields["secrets"] == "wiped", comment)
        }

        @Test(arguments: Granule.allCases) func drawsAndMovesAsTheToolDoes(granule: Granule) throws {
            var random = Random()
            for round in 0..<(granule == .page2M ? 4 : 40) {
                let problem = try problem(granule, &random)
                let bytes = (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }
                var boot = PretendedBoot()
                // Linux loads at multiples of 2 MB; tables that show more than the image have to be right, too.
                boot.physical += 4096 * UInt64.random(in: 0..<1024, using: &random) * UInt64(round % 2)
                if round % 3 != 1 {
                    let last = 4096 * problem.pageCount - 8 * (problem.pageCount + 2)
                    boot.lookup = UInt64(8 * Int.random(in: 1...last / 8, using: &random))
                }
                if round % 4 < 2 {
                    boot.seed = bytes
                } else {
                    boot.options.append("cmdline=quiet kperm.seed=\(text(bytes)) root=/dev/vda")
                }
                if round % 3 == 0 { boot.options.append("levels=5") }
                try check(boot, problem, bytes, Random.comment("\(granule.rawValue), round \(round)"))
            }
        }

        /// Runs that fill a range fit into it by rare luck: they stay home after 64 beginnings, while the rest moves.
        @Test func glueThatHardlyFitsStaysHome() throws {
            let glue = (0..<12).map { Glue(pages: 3 * $0..<3 * $0 + 3, reason: "test") }
            let alone = stride(from: 40, to: 60, by: 2).map { $0..<$0 + 1 }
            let problem = try PermutationProblem(
                pageCount: 60, classes: [PageClass(name: "text", ranges: [0..<36] + alone)], glue: glue)
            for seedByte in UInt8(1)...4 {
                let bytes = [UInt8](repeating: seedByte, count: 32)
                try check(PretendedBoot(seed: bytes), problem, bytes, "seed byte \(seedByte)")
            }
        }

        /// Runs that fit after some beginnings.
        @Test func glueThatFitsAtLast() throws {
            let glue = [0..<14, 14..<28, 28..<41, 41..<54].map { Glue(pages: $0, reason: "test") }
            let problem = try PermutationProblem(
                pageCount: 56, classes: [PageClass(name: "text", ranges: [0..<56])], glue: glue)
            for seedByte in UInt8(1)...8 {
                let bytes = [UInt8](repeating: seedByte, count: 32)
                try check(PretendedBoot(seed: bytes), problem, bytes, "seed byte \(seedByte)")
            }
        }

        private var small: PermutationProblem {
            get throws {
                try PermutationProblem(
                    pageCount: 700, classes: [PageClass(name: "text", ranges: [2..<600])],
                    pins: [Pin(pages: 5..<6, reason: "test", evidence: "test")])
            }
        }

        private func boot(_ options: String...) throws -> PretendedBoot.Outcome {
            try PretendedBoot(options: options).run(small)
        }

        @Test func seedsFoundAtBoot() throws {
            let first = try boot()
            let second = try boot()
            #expect(first.state == "1 1" && second.state == "1 1")
            #expect(first.frames != second.frames)
            let processor = first.sources & 3
            #expect(first.sources == processor | 16 | 32)
            let words = processor == 0 ? "weak entropy" : "entropy"
            #expect(first.status.contains("of 700 pages moved, drawn at boot, \(words) "))
            #expect(first.status.hasSuffix(" KASLR TSC"))

            let bytes = String(repeating: "5a", count: 32)
            let found = try boot("setup-data=\(bytes)", "efi=\(bytes)")
            #expect(found.sources == processor | 4 | 8 | 16 | 32)
            #expect(found.status.contains(" setup_data EFI KASLR TSC"))
            // used up by another, or too short
            #expect(try boot("setup-data=\(String(repeating: "00", count: 32))").sources & 4 == 0)
            #expect(try boot("efi=5a5a").sources & 8 == 0)
        }

        @Test func saysWhereTheSeedIsFrom() throws {
            let given = try PretendedBoot(seed: [UInt8](repeating: 7, count: 32)).run(small)
            #expect(given.status.hasSuffix(" of 700 pages moved, drawn by the tool"))
            #expect(given.sources == 128)
            let shown = try boot("cmdline=kperm.seed=\(String(repeating: "aB", count: 32))")
            #expect(shown.status.hasSuffix("drawn at boot, seed from the command line"))
            #expect(shown.sources == 64)
        }

        /// The kernel shows its command line to everybody.
        @Test func takesTheSeedOffTheCommandLine() throws {
            let word = "kperm.seed=\(String(repeating: "aB", count: 32))"
            let blank = String(repeating: " ", count: word.utf8.count)
            let lines = [
                (word, blank), ("quiet \(word) kperm.wait", "quiet \(blank) kperm.wait"),
                ("\(word)\t\(word) a -- b", "\(blank) \(blank) a -- b"), ("x\(word) \(word)", "x\(word) \(blank)"),
            ]
            for (given, shown) in lines {
                let outcome = try boot("cmdline=\(given)")
                #expect(outcome.fields["line"] == "[\(shown)]")
                #expect(outcome.state == "1 1")
            }
            // What is malformed stays for whoever has to mend it, and nothing was permuted.
            #expect(try boot("cmdline=\(word)0 \(word)").fields["line"] == "[\(word)0 \(word)]")
            let off = try boot("cmdline=kperm=off \(word)")
            #expect(off.fields["line"] == "[kperm=off \(blank)]")
            let forInit = try boot("cmdline=quiet -- \(word)")
            #expect(forInit.fields["line"] == "[quiet -- \(word)]")
        }

        private func expectLinear(_ outcome: PretendedBoot.Outcome) {
            #expect(outcome.frames == Array(0..<700))
            #expect(outcome.fields["moved"] == "0")
            #expect(outcome.table.prefix(8).allSatisfy { $0 == 0 })
            #expect(outcome.fields["secrets"] == "wiped")
        }

        @Test(arguments: [8, 700 * 4096 - 8 * 702]) func translationsAskWhatTheStubWrites(lookup: UInt64) throws {
            let bytes = [UInt8](repeating: 3, count: 32)
            try check(PretendedBoot(seed: bytes, lookup: lookup), try small, bytes, "at \(lookup)")
        }

        @Test(arguments: [4, 700 * 4096 - 8 * 701, 700 * 4096, 0xffff_ffff_ffff_fff8])
        func refusesALookupTableThatDoesNotFit(lookup: UInt64) throws {
            let refused = try PretendedBoot(seed: [UInt8](repeating: 9, count: 32), lookup: lookup).run(small)
            #expect(refused.state == "3 3")
            #expect(refused.status.contains("does not fit the image"), "\(refused.status)")
            expectLinear(refused)
        }

        @Test func switchedOff() throws {
            for line in ["kperm=off", "kperm=require kperm=off", "kperm=off kperm.seed=nonsense", "quiet\tkperm=off\n"]
            {
                let outcome = try boot("cmdline=\(line)")
                #expect(outcome.state == "2 2", "\(line)")
                #expect(outcome.status == "not permuted: switched off on the command line")
                expectLinear(outcome)
            }
        }

        @Test func otherWordsAreNotOurs() throws {
            for line in ["xkperm=off", "-- kperm=off", "kpermx=1", "a -- kperm.seed=1", "kperm", "-- "] {
                #expect(try boot("cmdline=\(line)").state == "1 1", "\(line)")
            }
            #expect(try boot("cmdline=kperm.wait").fields["wait"] == "1")
            #expect(try boot("cmdline=-- kperm.wait").fields["wait"] == "0")
        }

        @Test(arguments: [
            "kperm=on", "kperm=", "kperm=offf", "kperm.seed=", "kperm.seed=12",
            "kperm.seed=" + String(repeating: "g", count: 64), "kperm.seed=" + String(repeating: "0", count: 65),
            "kperm.sed=1", "kperm.wait=1",
        ])
        func malformedOptions(line: String) throws {
            let refused = try boot("cmdline=\(line)")
            #expect(refused.state == "3 3")
            #expect(refused.status.hasPrefix("not permuted: ") && refused.status.contains("command line"))
            expectLinear(refused)
            #expect(try boot("cmdline=kperm=require \(line)").state == "4 4")
        }

        @Test(arguments: [
            ("unknown=0x8000000000000", "unknown way"), ("unknown=0x1000", "unknown way"), ("unknown=4", "unknown way"),
            ("cr4=0x80", "long mode"), ("efer=0", "long mode"), ("stack=100", "in use would move"),
            ("level2-page=200", "in use would move"),
        ])
        func refusesWhatItDoesNotKnow(option: String, words: String) throws {
            let refused = try PretendedBoot(seed: [UInt8](repeating: 9, count: 32), options: [option]).run(small)
            #expect(refused.state == "3 3")
            #expect(refused.status.hasPrefix("not permuted: ") && refused.status.contains(words), "\(refused.status)")
            expectLinear(refused)
            let halted = try boot(option, "cmdline=kperm=require")
            #expect(halted.state == "4 4")
            expectLinear(halted)
        }

        /// The page that holds level2_kernel_pgt may lie in the image, if it is pinned.
        @Test func pinnedLevel2InTheImage() throws {
            #expect(try boot("level2-page=5").state == "1 1")
        }

        /// Each of the header's numbers made absurd: refused, or else no worse than another permutation.
        @Test(arguments: Array(stride(from: 0x100, to: 0x110, by: 4)) + Array(stride(from: 0x14c, to: 0x168, by: 4)))
        func absurdHeaders(offset: Int) throws {
            if offset == 0x104 { return }  // the driver itself goes by the number of pages
            for value: UInt32 in [0, 3, 0x7fff_ffff, .max] {
                var boot = PretendedBoot(seed: [UInt8](repeating: 9, count: 32))
                boot.change = { area in
                    for i in 0..<4 { area[offset + i] = UInt8(truncatingIfNeeded: value >> UInt32(8 * i)) }
                }
                let outcome = try boot.run(small)
                #expect(["1 1", "3 3"].contains(outcome.state), "\(offset) \(value)")
                let isNoBound = [0x100, 0x108].contains(offset) || (value == 0 && offset == 0x14c)
                #expect(isNoBound == (outcome.state == "1 1"), "\(offset) \(value): \(outcome.status)")
            }
        }
    }
#endif
