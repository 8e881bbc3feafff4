// SPDX-License-Identifier: MIT

// Attackers at work on a guest made of values: what they write to, how often
// they are right, and what is made of what they did.

import Addressing
import FoundationEssentials
import PagePermutation
import SecurityEvaluation
import TestSupport
import Testing

@testable import GuestCheck

/// A guest of one class, in an order of its own.
private struct Victim {
    static let pages = 16
    static let base: UInt64 = 0xffff_ffff_8100_0000
    static let frames: UInt64 = 0x20_0000
    static let target = 5

    let expectation: GuestExpectation
    var builder = TableBuilder(levels: 4, at: 0x10_0000)

    init(order: [UInt32], patched: [Range<VirtualAddress>] = []) throws {
        let problem = try PermutationProblem(
            pageCount: Self.pages, classes: [PageClass(name: "all", ranges: [0..<Self.pages])])
        let table = TranslationTable(
            try Permutation(forward: order, for: problem), virtualBase: VirtualAddress(Self.base),
            physicalBase: PhysicalAddress(Self.frames))
        expectation = GuestExpectation(
            kernelPath: "/kernel", table: table, stubEnd: VirtualAddress(Self.base),
            pages: [PageKind](repeating: .data, count: Self.pages), contents: { Self.contents[$0.index] },
            patchSites: patched, userspace: .linux(release: nil))
        for (page, frame) in order.enumerated() {
            let physical = Self.frames + UInt64(frame) * 0x1000
            builder.map(Self.base + UInt64(page) * 0x1000, to: physical, flags: TableBuilder.writable)
        }
    }

    static func random(using random: inout TestRandom) throws -> Victim {
        try Victim(order: (0..<UInt32(pages)).shuffled(using: &random))
    }

    private static let contents = (0..<pages).map { page in
        (0..<pageSize).map { UInt8(truncatingIfNeeded: $0 == 0x100 ? page : $0) }
    }

    /// RAM with nothing in it.
    static func emptyMemory() throws -> GuestMemory {
        var memory = try GuestMemory(size: 4 << 20)
        memory.map = MemoryMap(pieces: [MemoryMap.Piece(guest: 0..<4 << 20, offset: 0)])
        return memory
    }

    /// Puts every page into its frame.
    func fill(_ memory: borrowing GuestMemory) {
        for (page, frame) in expectation.table.forward.enumerated() {
            memory.write(Self.contents[page], atOffset: Int(Self.frames) + Int(frame) * pageSize)
        }
    }

    /// Its RAM.
    func memory() throws -> GuestMemory {
        let memory = try Self.emptyMemory()
        fill(memory)
        builder.write(into: memory)
        return memory
    }

    static func attack(
        _ method: Attack.Method, isReadOnly: Bool = false, frames: [Int] = Array(0..<pages), at offset: Int = 0x100,
        bytes: Int = 4, spreadsEvenly: Bool = true
    ) -> Attack {
        let target = AttackTarget(
            name: "it", address: VirtualAddress(base + UInt64(target * pageSize + offset)),
            payload: [UInt8](repeating: 1, count: bytes), isReadOnly: isReadOnly, stable: 0x100..<0x108,
            command: "cat /it", before: "old", after: "new")
        return Attack(method, on: target, frames: frames, spreadsEvenly: spreadsEvenly)
    }
}

struct AttackMoveTests {
    /// Each kind of attacker is right as often as predicted, over random orders.
    @Test(
        arguments: [
            Attack.Method.blind, .leak(pages: 0, includingTarget: false), .leak(pages: 1, includingTarget: false),
            .leak(pages: 12, includingTarget: false), .leak(pages: 15, includingTarget: false),
            .leak(pages: 1, includingTarget: true), .fingerprint(reads: 0), .fingerprint(reads: 1),
            .fingerprint(reads: 9), .fingerprint(reads: 16),
        ])
    func isRightAsOftenAsPredicted(method: Attack.Method) throws {
        var random = TestRandom()
        let attack = Victim.attack(method)
        let trials = 400
        let memory = try Victim.emptyMemory()
        var hits = 0
        for _ in 0..<trials {
            let victim = try Victim.random(using: &random)
            victim.fill(memory)
            let move = attack.move(
                page: Victim.target, victim.expectation, victim.builder.tables, memory, using: &random)
            if move == .write(frame: Int(victim.expectation.table.forward[Victim.target])) { hits += 1 }
        }
        let chance = HitCount(hits, of: trials).chance(at: attack.prediction)
        #expect(chance > 1e-7, TestRandom.comment("\(hits) of \(trials), predicted \(attack.prediction)"))
    }

    /// The leaked places are left out of the guess; with all others known nothing is left to guess.
    @Test func leakedFramesAreNoGuess() throws {
        var random = TestRandom()
        let victim = try Victim.random(using: &random)
        let frames = [1, 5, 9]
        // Only these three trade places.
        let victims = try [[1, 5, 9], [9, 1, 5], [5, 9, 1]].map { places in
            var order = (0..<UInt32(Victim.pages)).map { $0 }
            for (page, frame) in zip(frames, places) { order[page] = UInt32(frame) }
            return try Victim(order: order)
        }
        for victim in victims {
            let attack = Victim.attack(.leak(pages: 2, includingTarget: false), frames: frames)
            let move = attack.move(
                page: Victim.target, victim.expectation, victim.builder.tables, try victim.memory(), using: &random)
            #expect(move == .write(frame: Int(victim.expectation.table.forward[Victim.target])))
        }
        let blind = Victim.attack(.blind).move(
            page: Victim.target, victim.expectation, victim.builder.tables, try victim.memory(), using: &random)
        #expect(blind == .write(frame: Victim.target), TestRandom.comment())
    }

    /// A reader knows the page by what the kernel leaves alone, and by nothing else.
    @Test func patchedBytesAreNoFingerprint() throws {
        var random = TestRandom()
        let mark = VirtualAddress(Victim.base + UInt64(Victim.target * pageSize) + 0x100)
        let victim = try Victim(order: (0..<UInt32(Victim.pages)).reversed(), patched: [mark..<mark + 1])
        let attack = Victim.attack(.fingerprint(reads: Victim.pages))
        let memory = try victim.memory()
        // Without the mark all pages look alike, and the first one read is taken.
        var moves: Set<Int> = []
        for _ in 0..<64 {
            guard
                case .write(let frame) = attack.move(
                    page: Victim.target, victim.expectation, victim.builder.tables, memory, using: &random)
            else {
                Issue.record("nothing was found")
                return
            }
            moves.insert(frame)
        }
        #expect(moves.count > 1, TestRandom.comment())
    }

    /// The linear map's rights decide, at the address that its other mappings give.
    @Test func aliasIsAsWritableAsItsMapping() throws {
        var random = TestRandom()
        let linear: UInt64 = 0xffff_8880_0000_0000
        let physical = Victim.frames + UInt64(Victim.target) * 0x1000
        func move(_ flags: UInt64?) throws -> AttackMove {
            var victim = try Victim(order: (0..<UInt32(Victim.pages)).map { $0 })
            for frame in 0..<UInt64(Victim.pages) where frame != UInt64(Victim.target) {
                let place = Victim.frames + frame * 0x1000
                victim.builder.map(linear + place, to: place, flags: TableBuilder.writable)
            }
            // Another alias of the frame, which is writable, but is not where an attacker computes it.
            victim.builder.map(0xffff_c900_0000_0000, to: physical, flags: TableBuilder.writable)
            if let flags { victim.builder.map(linear + physical, to: physical, flags: flags) }
            return Victim.attack(.alias).move(
                page: Victim.target, victim.expectation, victim.builder.tables, try victim.memory(), using: &random)
        }
        #expect(try move(TableBuilder.writable) == .write(frame: Victim.target))
        #expect(try move(0) == .refused("the linear map shows that frame read-only"))
        #expect(try move(nil) == .refused("the linear map does not show that frame"))
    }
}

struct AttackTests {
    @Test func predictions() {
        func prediction(_ method: Attack.Method, isReadOnly: Bool = false, frames: [Int] = [1, 5, 9, 12, 13]) -> Double
        {
            Victim.attack(method, isReadOnly: isReadOnly, frames: frames).prediction
        }
        #expect(prediction(.blind) == 0.2)
        #expect(prediction(.blind, isReadOnly: true) == 0.2)
        #expect(prediction(.blind, frames: [5]) == 1)
        #expect(prediction(.alias) == 0.2)
        #expect(prediction(.alias, isReadOnly: true) == 0)
        #expect(prediction(.leak(pages: 3, includingTarget: false)) == 0.5)
        #expect(prediction(.leak(pages: 3, includingTarget: true)) == 1)
        #expect(prediction(.fingerprint(reads: 2)) == 0.4)
    }

    @Test func whatCannotBeTried() {
        let base = VirtualAddress(Victim.base)
        func problem(_ attack: Attack, pages: Int = Victim.pages) -> String? {
            attack.problem(imageBase: base, pageCount: pages)
        }
        #expect(problem(Victim.attack(.blind)) == nil)
        #expect(problem(Victim.attack(.blind), pages: 5)?.contains("outside the image") == true)
        #expect(problem(Victim.attack(.blind, at: 0xffc)) == nil)
        #expect(problem(Victim.attack(.blind, at: 0xffd))?.contains("cross into another page") == true)
        #expect(problem(Victim.attack(.blind, frames: [1, 2]))?.contains("own frame") == true)
        #expect(problem(Victim.attack(.leak(pages: 15, includingTarget: false))) == nil)
        #expect(
            problem(Victim.attack(.leak(pages: 16, includingTarget: false)))
                == "16 leaked pages: beside it's own, 15 move in its class")
        #expect(problem(Victim.attack(.leak(pages: 16, includingTarget: true))) == nil)
        #expect(problem(Victim.attack(.fingerprint(reads: 16))) == nil)
        #expect(
            problem(Victim.attack(.fingerprint(reads: 17))) == "17 reads: 16 frames may hold it's page")
    }

    /// What is told of a write is held against the page tables.
    @Test func contradictions() throws {
        let victim = try Victim(order: (0..<UInt32(Victim.pages)).reversed())
        let right = PhysicalAddress(Victim.frames + 10 * 0x1000 + 0x100)
        let wrong = PhysicalAddress(Victim.frames + 5 * 0x1000 + 0x100)
        func result(
            _ outcome: AttackResult.Outcome, written: PhysicalAddress?, place: PhysicalAddress? = right,
            frames: [Int] = Array(0..<Victim.pages)
        ) -> AttackResult {
            AttackResult(
                Victim.attack(.blind, frames: frames), Aftermath.Verdict(outcome: outcome, seen: "x"),
                written: written, place: place, page: Victim.target, victim.expectation)
        }
        #expect(result(.hit, written: right).contradiction == nil)
        #expect(result(.hit, written: right).isRightFrame)
        #expect(result(.hit, written: right).offsetInFrame == 0x100)
        #expect(result(.missed, written: wrong).contradiction == nil)
        #expect(!result(.missed, written: wrong).isRightFrame)
        #expect(result(.crashed, written: right).contradiction == nil, "a crash hides the effect")
        #expect(result(.notFound, written: nil).offsetInFrame == nil)
        #expect(result(.hit, written: wrong).contradiction?.contains("another frame") == true)
        #expect(result(.missed, written: right).contradiction?.contains("does not see it") == true)
        #expect(result(.missed, written: wrong, place: wrong).contradiction?.contains("disagree") == true)
        #expect(result(.missed, written: wrong, place: nil).contradiction?.contains("disagree") == true)
        #expect(result(.missed, written: wrong, frames: [5, 6]).contradiction?.contains("leaves out") == true)
    }

    /// A class that is counted with its pins predicts too little; its pages that never move give it away.
    @Test func pinsThatWereCounted() throws {
        let pinned = (0..<UInt32(Victim.pages)).map { $0 }
        let victim = try Victim(order: pinned)
        let place = PhysicalAddress(Victim.frames + 5 * 0x1000 + 0x100)
        func contradiction(_ frames: [Int], spreadsEvenly: Bool = true) -> String? {
            AttackResult(
                Victim.attack(.blind, frames: frames, spreadsEvenly: spreadsEvenly), Aftermath.Verdict(outcome: .hit),
                written: place, place: place, page: Victim.target, victim.expectation
            ).contradiction
        }
        #expect(contradiction(Array(0..<16))?.contains("16 of the 16 pages") == true)
        #expect(contradiction([5]) == nil)
        #expect(contradiction(Array(0..<16), spreadsEvenly: false) == nil)
    }
}

struct AttackedGuestTests {
    private static let log = """
        [    1.0] kperm-exercise: reading 0 /sbin/modprobe\r
        [    1.2] kperm-exercise: userspace pass 6.1\r
        [    1.3] kperm-exercise: reading 1\r
        [    1.4] kperm-exercise: reading 2 |/bin/core %P %u\r
        [    1.6] kperm-exercise: reading 3 /sb
        """

    /// A line that is not yet whole is not yet said.
    @Test func readings() {
        let found = AttackScript.readings(in: Self.log)
        #expect(found.map(\.number) == [0, 1, 2])
        #expect(found.map(\.text) == ["/sbin/modprobe", "", "|/bin/core %P %u"])
        #expect(AttackScript.readings(in: Self.log + "in\n").last?.text == "/sbin")
        #expect(AttackScript.readings(in: "").isEmpty)
    }

    /// Only what began after the write counts against the attack; what it did counts at once.
    @Test func verdictWaitsForReadingsAfterTheWrite() {
        let aftermath = Aftermath(last: 4, after: "new")
        func readings(_ texts: String...) -> [AttackScript.Reading] {
            texts.enumerated().map { AttackScript.Reading(number: $0 + 4, text: $1) }
        }
        #expect(aftermath.judge(readings("old")) == nil)
        #expect(aftermath.judge(readings("old", "old", "old")) == nil)
        #expect(aftermath.judge(readings("old", "new"))?.outcome == .hit)
        #expect(aftermath.judge(readings("old", "old", "old", "new"))?.outcome == .hit)
        #expect(aftermath.judge(readings("old", "old", "old", "old"))?.outcome == .missed)
        #expect(aftermath.judge(readings("new", "old", "old", "old"))?.outcome == .missed, "said before the write")
    }

    @Test(.enabled(if: (try? findProgram("busybox")) != nil)) func shellUnderstandsIt() async throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let script = AttackScript.text(reading: "sh -c 'echo $PPID'")
        #expect(script.contains(#"say reading $n "$(sh -c 'echo $PPID' 2>&1)""#))
        try writeFile("\(directory)/init", Array(script.utf8))
        let command = #""$0" sh -n "$1" 2>&1 && echo fine"#
        let answer = try await output(
            of: "/bin/sh", ["-c", command, try findProgram("busybox"), "\(directory)/init"])
        #expect(answer == "fine\n")
    }

    /// What is found to run in a guest whose stub left such a state.
    private func running(state: UInt32) throws -> TranslationTable {
        let guest = try SyntheticGuest()
        let known = guest.expectation
        let memory = try guest.memory()
        memory.write(
            SyntheticArea(known.table, state: state, sources: 1, status: "the reason").bytes, atOffset: 0x50_0000)
        var expectation = known
        expectation.placement = .live { table in
            var derived = known
            derived.table = table
            return derived
        }
        let found = try expectation.running([guest.builder.tables], memory)
        return found.table
    }

    /// A kernel that booted unpermuted is not attacked as if it were permuted.
    @Test func kernelThatDidNotPermuteItself() throws {
        #expect(try running(state: 1) == SyntheticGuest().expectation.table)
        #expect(throws: GuestError.unfit(": the kernel did not permute itself: refused: the reason")) {
            try running(state: 3)
        }
    }

    @Test func emulatorMissing() async throws {
        var expectation = try SyntheticGuest().expectation
        expectation.userspace = .linux(release: nil)
        var options = GuestOptions()
        options.emulator = "no-such-emulator"
        let attack = Attack(
            .blind,
            on: AttackTarget(
                name: "it", address: expectation.table.virtualBase, payload: [1], isReadOnly: false, stable: 0..<1,
                command: "true", before: nil, after: ""), frames: [0])
        await #expect(throws: GuestError.programMissing("no-such-emulator")) {
            try await attackGuest(expectation, attack, options: options)
        }
        expectation.userspace = .selfChecking
        await #expect(throws: GuestError.unfit(": not Linux")) {
            try await attackGuest(expectation, attack, options: options)
        }
    }
}
