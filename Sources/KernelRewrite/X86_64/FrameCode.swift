// SPDX-License-Identifier: MIT

// The code that asks which pages lie in frames (FrameTests.swift). A comparison of
// the kernel's keeps its place, its operands and its flags; what is compared with
// the bound is, for the time of the comparison, a number next to the bound, on the
// side that the answer says:
//
//     cmp %rax, %rsi     jmp 1f     1: push %rsi, and four to work with
//     jb  2f          ->               rcx, rdx = first and last frame, counted from _text's
//                                      carry = one of them holds a page of the class
//                                      pop the four
//                                      lea 1(%rax), %rsi; jc 3f; lea -1(%rax), %rsi
//                                   3: cmp %rax, %rsi
//                                      pop %rsi
//                                      jb  2f
//
// What lies in a frame stands in a table like that of the translations
// (Rewriter.swift), the other way round.

import Addressing
import Disassembly

enum FrameCode {
    /// An upper bound of the bytes of one step.
    static let bytesPerStep = 192

    /// The code of a step, with its instruction; nil when it cannot be.
    ///
    /// - Parameters:
    ///   - inverse: the table.
    ///   - copy: a copy of the instruction for where it will stand: what a comparison compares are registers, so that
    ///     it may stand anywhere.
    static func code(
        _ step: FrameStep, at place: VirtualAddress, text: VirtualAddress, inverse: VirtualAddress, pages: Int,
        copy: (_ place: VirtualAddress) -> [UInt8]?
    ) -> [UInt8]? {
        let register = step.look.register
        if step.work == .name {
            guard let start = name(register, at: place, text, inverse, pages),
                let copy = copy(place + UInt64(start.count))
            else { return nil }
            return start + copy
        }
        guard let copy = copy(place) else { return nil }
        switch step.work {
        case .name: return nil
        case .agree(let bound, let isBeyond):
            return X86Code.push(register) + X86Code.load(register, bound, plus: isBeyond ? 1 : -1) + copy
                + X86Code.pop(register)
        case .compare(let bound, let isBeyond, let question):
            let start = X86Code.push(register)
            guard let ask = ask(question, at: place + UInt64(start.count), inverse, pages) else { return nil }
            let yes = X86Code.load(register, bound, plus: isBeyond ? 1 : -1)
            let no = X86Code.load(register, bound, plus: isBeyond ? -1 : 1)
            // jc over the other
            return start + ask + yes + [0x72, UInt8(no.count)] + no + copy + X86Code.pop(register)
        }
    }

    /// Sets the carry if a page of the class lies in one of the frames.
    private static func ask(
        _ question: FrameStep.Question, at place: VirtualAddress, _ inverse: VirtualAddress, _ pages: Int
    ) -> [UInt8]? {
        let saved: [GeneralRegister] = [.rax, .rcx, .rdx, .rsi]
        let given = [question.start, question.low, question.high]
        guard let offset = Int32(exactly: question.offset), let limit = Int32(exactly: pages),
            let wanted = Int32(exactly: question.pages.lowerBound), let count = Int32(exactly: question.pages.count),
            !given.contains(.rsp)
        else { return nil }
        var bytes = (saved + given).flatMap(X86Code.push) + [.rdx, .rcx, .rax].flatMap(X86Code.pop)
        bytes += X86Code.load(.rax, .rax, plus: -offset)
        if !question.isInclusive { bytes += [0x48, 0xff, 0xca] }  // dec %rdx
        bytes += X86Code.subtract(.rax, from: .rcx) + X86Code.subtract(.rax, from: .rdx)
        if question.isAddress {
            bytes += [0x48, 0xc1, 0xf9, 0x0c, 0x48, 0xc1, 0xfa, 0x0c]  // sar $12, %rcx; sar $12, %rdx
        }
        bytes += [0x48, 0x85, 0xc9, 0x79, 0x02, 0x31, 0xc9]  // test %rcx, %rcx; jns 1f; xor %ecx, %ecx; 1:
        guard let table = X86Code.load(.rax, addressOf: inverse, at: place + UInt64(bytes.count)) else { return nil }
        bytes += table
        let found: [UInt8] =
            [0x48, 0x8b, 0x34, 0xc8, 0x48, 0xc1, 0xfe, 0x0c]  // mov (%rax,%rcx,8), %rsi; sar $12, %rsi
            + [0x48, 0x01, 0xce]  // add %rcx, %rsi
            + X86Code.load(.rsi, .rsi, plus: -wanted) + X86Code.compare(.rsi, with: count)
        let isInside = X86Code.compare(.rcx, with: limit)
        // 2: cmp %rdx, %rcx; jg 3f; cmp $pages, %rcx; jge 3f; …; jb 4f; inc %rcx; jmp 2b; 3: clc; 4:
        let loop = 3 + 2 + isInside.count + 2 + found.count + 2 + 3 + 2
        guard let back = Int8(exactly: -loop), let out = UInt8(exactly: loop - 5), out < 0x80 else { return nil }
        bytes += [0x48, 0x39, 0xd1, 0x7f, out] + isInside + [0x7d, out - UInt8(isInside.count) - 2]
        bytes += found + [0x72, 6, 0x48, 0xff, 0xc1, 0xeb, UInt8(bitPattern: back), 0xf8]
        return bytes + saved.reversed().flatMap(X86Code.pop)
    }

    /// Adds to the address in a register what the page in its frame differs from the one that would be there.
    private static func name(
        _ register: GeneralRegister, at place: VirtualAddress, _ text: VirtualAddress, _ inverse: VirtualAddress,
        _ pages: Int
    ) -> [UInt8]? {
        let free = GeneralRegister.all.filter { $0 != register && $0 != .rsp }
        let (base, difference) = (free[0], free[1])
        guard register != .rsp, let limit = Int32(exactly: pages),
            let distance = X86Code.distance(from: text, to: inverse)
        else { return nil }
        var bytes = X86Code.push(base) + X86Code.push(difference) + X86Code.pushFlags
        guard let start = X86Code.load(base, addressOf: text, at: place + UInt64(bytes.count)) else { return nil }
        bytes += start + X86Code.load(difference, register, plus: 0) + X86Code.subtract(base, from: difference)
        bytes += X86Code.shiftRight(difference, by: 12) + X86Code.compare(difference, with: limit)
        let last = inverse + UInt64(8 * (pages + 1))
        guard let bound = X86Code.replaceUnlessBelow(difference, byWordAt: last, at: place + UInt64(bytes.count))
        else { return nil }
        bytes += bound + X86Code.load(difference, word: difference, of: base, plus: distance) + X86Code.popFlags
        return bytes + X86Code.add(difference, to: register, bits: 64) + X86Code.pop(difference) + X86Code.pop(base)
    }
}
