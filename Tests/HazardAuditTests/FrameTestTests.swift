// SPDX-License-Identifier: MIT

// Comparisons of frames with ranges, in functions of a few instructions, as
// compilers make them: found, rewritten and run, they say what lies in a frame,
// and nothing else about them is another. What is not understood is refused.

import Addressing
import Disassembly
import KernelImage
import TestSupport
import Testing

@testable import HazardAudit
@testable import KernelRewrite

/// A kernel of one function that goes by frames, as it is and rewritten for an order.
private struct Asking {
    static let linearMap: UInt64 = 0xffff_8880_0000_0000
    private static let stack: UInt64 = 0xffff_c900_0010_0800

    let steps: [FrameStep]
    let base: UInt64
    let frames: [UInt32]
    /// Pages from `first` to `last`.
    let pages: Range<Int>
    private let before: [UInt8]
    private(set) var after: [UInt8]
    private let code: Range<Int>

    /// - Parameter order: what becomes of the frames; nil for those that a linear mapping gives.
    init(_ body: String, shuffled random: inout TestRandom, _ isShuffled: Bool = true) throws {
        let assembler = """
            FUNCTION(start): \(body)
            END(start)
            .section .other, "ax"
            .globl room; room: .skip 0x2000, 0xcc
            .data
            .balign 4096
            .skip 0x3000
            .globl first; first: .skip \(body.contains("page_offset") ? 0x6123 : 0x6000)
            .globl last; last: .skip 0x7000
            .globl page_offset; page_offset: .quad \(Self.linearMap)
            """
        let scratch = try Scratch()
        let subject = try subject(assembler, in: scratch)
        let image = try KernelImage.open(subject.file)
        func address(_ name: String) throws -> VirtualAddress {
            try #require(subject.symbols(named: name).first?.value)
        }
        let start = try address("_text")
        let map = try PageMap(image, from: start, to: try address("_end"))
        let read = try #require(TranslationSites(subject).sites.first?.address)
        let reader = CodeReader(subject)
        let found = reader.unit(around: start)
        let unit = try #require(found)
        let trace = FrameTrace("start", unit, read, try address("phys_base"))
        let markers = FrameTrace.Markers(
            start: try address("first"), end: try address("last"), names: ["first", "last"], map: map)
        steps = try body.contains("$-0x80000000") ? [trace.name(reason: "test")] : trace.range(markers, reason: "test")
        pages = map.pages(of: markers.start..<markers.end)
        let linear = (0..<UInt32(map.pageCount)).map { $0 }
        frames = isShuffled ? linear.shuffled(using: &random) : linear
        var inverse = frames
        for (page, frame) in frames.enumerated() { inverse[Int(frame)] = UInt32(page) }
        let room = try address("room")
        let tests = FrameTests(steps: steps, harmless: [])
        let all = Detour.all(tests.sites).detours
        var noNotes: NotePayload?
        let detours = Rewriter.code(
            all, behind: Self.table(frames) + Self.table(inverse), at: room,
            KernelLookups(text: start, table: room, pages: map.pageCount, physBase: start),
            map.originals(of: all, in: image), nil, &noNotes, tests
        ) { _ in nil }
        try #require(detours.left.isEmpty && detours.led.count == steps.count, "\(detours.left)")
        base = start.rawValue
        var memory: [UInt8] = []
        for page in 0..<map.pageCount { memory += map.contents(of: page, in: image) }
        before = memory
        for led in detours.led {
            let offset = Int(led.detour.start - start)
            memory.replaceSubrange(offset..<offset + led.lead.count, with: led.lead)
        }
        memory.replaceSubrange(Int(room - start)..<Int(room - start) + detours.bytes.count, with: detours.bytes)
        after = memory
        code = Int(room - start) + 2 * Self.table(frames).count..<Int(room - start) + detours.bytes.count
    }

    private static func table(_ order: [UInt32]) -> [UInt8] {
        var table: [UInt8] = []
        for (from, to) in order.enumerated() {
            table.append(littleEndian: (Int64(to) - Int64(from)) * Int64(pageSize))
        }
        table.append(littleEndian: UInt64(0))
        table.append(littleEndian: UInt64(order.count))
        return table
    }

    var firstFrame: UInt64 { (base &- 0xffff_ffff_8000_0000) >> 12 }

    /// Whether a page between the markers lies in one of some frames, counted from the image's first.
    func holds(_ range: Range<Int>) -> Bool {
        frames.enumerated().contains { pages.contains($0) && range.contains(Int($1)) }
    }

    /// With other bytes in the place of some that stand in the code; nil when they do not.
    func replacing(_ old: [UInt8], with new: [UInt8]) -> Asking? {
        guard let place = code.first(where: { after[$0...].starts(with: old) }) else { return nil }
        var other = self
        other.after.replaceSubrange(place..<place + old.count, with: new)
        return other
    }

    struct Outcome: Equatable {
        var registers: [UInt64]
        var flags: UInt64
        var memory: [UInt64: UInt8]
    }

    /// Runs the function for some arguments until it returns.
    func run(_ first: UInt64, _ second: UInt64, rewritten: Bool) throws -> Outcome {
        let processor = try EmulatedProcessor(
            image: rewritten ? after : before, at: base, words: base &- 0xffff_ffff_8000_0000)
        for register in GeneralRegister.all { processor[register] = 0x1111 * UInt64(register.number) }
        processor[.rdi] = first
        processor[.rsi] = second
        processor[.rsp] = Self.stack
        processor.flags = 0x202
        var count = 0
        while count < 4000, processor.place != returned {
            try processor.run(from: count == 0 ? base : processor.place, until: returned, count: 1)
            count += 1
        }
        let memory = try processor.written().filter { $0.key >= Self.stack }
        return Outcome(
            registers: GeneralRegister.all.map { processor[$0] }, flags: processor.flags & 0xcd5, memory: memory)
    }

    /// The last instruction of the function.
    private var returned: UInt64 {
        var end = 0x400
        while end > 0, before[end] != 0xc3 { end -= 1 }
        return base + UInt64(end)
    }
}

private let frameBranches = """
    mov phys_base(%rip), %rcx; mov $0x80000000, %edx; lea -1(%rdi,%rsi), %r8
    lea first(%rcx,%rdx), %rax; shr $12, %rax; cmp %rax, %r8; jb 1f
    lea last(%rcx,%rdx), %rax; shr $12, %rax; sub $1, %rax; cmp %rdi, %rax; jae 2f
    1: xor %ebx, %ebx; jmp 3f
    2: mov $1, %ebx; 3: xor %eax, %eax; ret
    """
private let frameSets = """
    mov phys_base(%rip), %r9; mov $0x80000000, %ecx; lea -1(%rdi,%rsi), %rdx
    lea first(%r9,%rcx), %rax; shr $12, %rax; cmp %rax, %rdx; lea last(%r9,%rcx), %rax; setae %dl
    shr $12, %rax; sub $1, %rax; cmp %rdi, %rax; setae %al; movzx %al, %ebx; and %edx, %ebx; and $1, %ebx
    xor %edx, %edx; xor %eax, %eax; ret
    """
private let addresses = """
    lea (%rdi,%rsi), %r13; mov $first, %r10; mov phys_base(%rip), %rsi; mov page_offset(%rip), %rcx
    mov $0x80000000, %edx; lea first(%rsi,%rdx), %rax; add %rcx, %rax; cmp %rax, %r10; je 1f
    lea last(%rsi,%rdx), %rdx; add %rcx, %rdx; cmp %rdx, %rdi; jae 1f; cmp %r13, %rax; jae 1f
    mov $1, %ebx; jmp 2f; 1: xor %ebx, %ebx; nop; nop; 2: xor %eax, %eax; xor %edx, %edx; ret
    """
private let name = """
    mov phys_base(%rip), %rcx; mov $-0x80000000, %rax; sub %rcx, %rax; mov %rdi, %rcx; shl $12, %rcx
    add %rcx, %rax; mov %rax, 8(%rsp); mov %rax, %rbx; ret
    """

struct FrameTestTests {
    /// Ranges of frames, counted from the image's first, in it and around it.
    private func ranges(_ count: Int, _ random: inout TestRandom) -> [Range<Int>] {
        var ranges = [-2..<0, -1..<1, 0..<count, -5..<count + 5, count..<count + 3, count - 1..<count + 1]
        for first in 0..<count { ranges.append(first..<first + 1) }
        for _ in 0..<40 {
            let first = Int.random(in: -3..<count, using: &random)
            ranges.append(first..<first + Int.random(in: 1..<6, using: &random))
        }
        return ranges
    }

    /// The arguments for a range of frames: a number and a count, or an address and as many bytes.
    private func arguments(
        _ range: Range<Int>, _ kernel: Asking, _ isAddress: Bool, _ random: inout TestRandom
    ) -> (UInt64, UInt64) {
        let first = UInt64(bitPattern: Int64(range.lowerBound)) &+ kernel.firstFrame
        if !isAddress { return (first, UInt64(range.count)) }
        let (start, less) = (UInt64.random(in: 0..<4096, using: &random), UInt64.random(in: 0..<4096, using: &random))
        let bytes = UInt64(range.count * pageSize) - less
        return (Asking.linearMap + first << 12 + min(start, bytes - 1), bytes - min(start, bytes - 1))
    }

    @Test(arguments: [(frameBranches, false), (frameSets, false), (addresses, true)])
    func theAnswerIsWhatLiesThere(body: String, isAddress: Bool) throws {
        var random = TestRandom()
        let kernel = try Asking(body, shuffled: &random)
        #expect(kernel.steps.count == 2)
        var answers: Set<Bool> = []
        for range in ranges(kernel.frames.count, &random) {
            let (first, second) = arguments(range, kernel, isAddress, &random)
            let seen = try kernel.run(first, second, rewritten: true)
            let plain = try kernel.run(first, second, rewritten: false)
            let answer = seen.registers[3] == 1
            answers.insert(answer)
            // A linear map's address range may begin and end within pages.
            #expect(answer == kernel.holds(range), TestRandom.comment("\(range) \(body)"))
            var others = seen
            others.registers[3] = plain.registers[3]
            #expect(others == plain, TestRandom.comment("\(range) \(body)"))
        }
        #expect(answers == [false, true])
    }

    /// Where nothing moved, the answer is the kernel's own.
    @Test(arguments: [(frameBranches, false), (frameSets, false), (addresses, true)])
    func unmovedFramesAnswerAsBefore(body: String, isAddress: Bool) throws {
        var random = TestRandom()
        let kernel = try Asking(body, shuffled: &random, false)
        for range in ranges(kernel.frames.count, &random) {
            // The end of the addresses is no page's.
            if isAddress, range.contains(kernel.pages.upperBound - 1) { continue }
            let (first, second) = arguments(range, kernel, isAddress, &random)
            #expect(
                try kernel.run(first, second, rewritten: true) == kernel.run(first, second, rewritten: false),
                TestRandom.comment("\(range) \(body)"))
        }
    }

    @Test func addressesAreThoseOfThePage() throws {
        var random = TestRandom()
        let kernel = try Asking(name, shuffled: &random)
        for (page, frame) in kernel.frames.enumerated() {
            let seen = try kernel.run(kernel.firstFrame + UInt64(frame), 0, rewritten: true)
            #expect(seen.registers[3] == kernel.base + UInt64(page * pageSize), TestRandom.comment())
        }
        for frame in [kernel.firstFrame - 1, kernel.firstFrame + UInt64(kernel.frames.count), 0] {
            #expect(try kernel.run(frame, 0, rewritten: true) == kernel.run(frame, 0, rewritten: false))
        }
    }

    /// Each of these mistakes in the code shows.
    @Test(
        arguments: [
            ("another bound of the loop", [0x48, 0x39, 0xd1, 0x7f], [0x48, 0x39, 0xd1, 0x7d]),
            ("another word of the table", [0x48, 0x8b, 0x34, 0xc8], [0x48, 0x8b, 0x34, 0x88]),
            ("another page", [0x48, 0x01, 0xce], [0x48, 0x29, 0xce]),
            ("the other answer", [0x72, 0x06], [0x73, 0x06]),
            ("no answer", [0xf8, 0x5e], [0xf9, 0x5e]),
            ("a register is lost", [0x5e, 0x5a, 0x59, 0x58], [0x5e, 0x59, 0x5a, 0x58]),
            ("what lies before the image", [0x79, 0x02, 0x31, 0xc9], [0x90, 0x90, 0x31, 0xc9]),
        ] as [(String, [UInt8], [UInt8])])
    func mistakesShow(mistake: String, right: [UInt8], wrong: [UInt8]) throws {
        var random = TestRandom()
        let kernel = try Asking(frameBranches, shuffled: &random)
        let mistaken = try #require(kernel.replacing(right, with: wrong), "\(mistake)")
        var isSeen = false
        for range in ranges(kernel.frames.count, &random) where !isSeen {
            let (first, second) = arguments(range, kernel, false, &random)
            guard let seen = try? mistaken.run(first, second, rewritten: true) else {
                isSeen = true
                break
            }
            isSeen = try seen != kernel.run(first, second, rewritten: true)
        }
        #expect(isSeen, TestRandom.comment(mistake))
    }

    /// What is not of a form that is known is refused, with what is missing.
    @Test(arguments: [
        (
            "mov phys_base(%rip), %rcx; mov $0x80000000, %edx; lea first(%rcx,%rdx), %rax; cmp %rax, %rsi; jb 1f; nop; "
                + "1: ret", "other code leads"
        ),
        (
            "mov phys_base(%rip), %rcx; mov $0x80000000, %edx; lea first(%rcx,%rdx), %rax; cmp %rax, (%rsi); jb 1f; "
                + "lea last(%rcx,%rdx), %rax; cmp %rdi, %rax; jae 1f; nop; 1: ret", "in no register"
        ),
        (
            "mov phys_base(%rip), %rcx; mov $0x80000000, %edx; lea first(%rcx,%rdx), %rax; cmp %rax, %rsi; jb 1f; "
                + "2: lea last(%rcx,%rdx), %rax; cmp %rdi, %rax; jae 1f; jmp 2b; 1: ret", "other code leads"
        ),
        (
            "mov phys_base(%rip), %rcx; mov $0x80000000, %edx; lea first(%rcx,%rdx), %rax; cmp %rax, %rsi; jb 1f; "
                + "mov (%rsi), %rdi; lea last(%rcx,%rdx), %rax; cmp %rdi, %rax; jae 1f; nop; 1: ret",
            "is not known where the first end"
        ),
        (
            "mov phys_base(%rip), %rcx; mov $0x80000000, %edx; lea first(%rcx,%rdx), %rax; cmp %rax, %rsi; je 1f; "
                + "lea last(%rcx,%rdx), %rax; cmp %rdi, %rax; jae 1f; nop; 1: ret", "follows a comparison"
        ),
        ("mov phys_base(%rip), %rcx; mov $-0x80000000, %rax; sub %rcx, %rax; ret", "it is not seen which address"),
    ])
    func whatIsRefused(body: String, why: String) throws {
        var random = TestRandom()
        do {
            _ = try Asking(body, shuffled: &random)
            Issue.record("not refused: \(body)")
        } catch let problem as FrameTrace.Problem {
            #expect(problem.reason.contains(why), "\(problem.reason)")
        }
    }
}
