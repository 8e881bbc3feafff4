// SPDX-License-Identifier: MIT

// The proof that a rewritten translation does what the original does but for the
// physical addresses of moved pages. What it should do is not read from the code
// that does it: the original runs up to behind the instruction that adds the
// offset, what the page's frame differs is added to the sum by hand, and the
// original goes on. Then all registers, flags and memory must be the same.

import Addressing
import Disassembly
import TestSupport

@testable import KernelRewrite

struct LookupProof {
    private static let startKernelMap: UInt64 = 0xffff_ffff_8000_0000
    private static let stack: UInt64 = 0xffff_c900_0010_0800
    /// Carry, parity, adjust, zero, sign, direction, overflow.
    private static let flags: UInt64 = 0xcd5

    /// What is wrong; empty when all is proved.
    private(set) var findings: [String] = []
    /// Places that translated an address of a moved page.
    private(set) var moved: Set<VirtualAddress> = []
    private(set) var runs = 0

    private let base: UInt64
    private let size: UInt64
    /// What a page's frame differs from the linear one, in bytes.
    private let differences: [UInt64]
    private let original: EmulatedProcessor
    private let rewritten: EmulatedProcessor

    /// - Parameters:
    ///   - before: the image, whole pages.
    ///   - after: the rewritten one.
    init(_ before: [UInt8], _ after: [UInt8], at base: VirtualAddress, frames: [UInt32]) throws {
        self.base = base.rawValue
        size = UInt64(frames.count * pageSize)
        differences = frames.enumerated().map { (UInt64($1) &- UInt64($0)) &* UInt64(pageSize) }
        let words = base.rawValue &- Self.startKernelMap
        original = try EmulatedProcessor(image: before, at: base.rawValue, words: words)
        rewritten = try EmulatedProcessor(image: after, at: base.rawValue, words: words)
    }

    /// What is added to the physical address that belongs to an address, virtual or less START_KERNEL_MAP.
    private func difference(_ address: UInt64) -> UInt64 {
        for form in [address, address &+ Self.startKernelMap] where form &- base < size {
            return differences[Int((form - base) / UInt64(pageSize))]
        }
        return 0
    }

    /// Addresses in the image and around it, in the linear map and in vmalloc space, as the kernel adds the offset to
    /// them, and such as differ from one of the image in a few bits only.
    private func addresses(_ random: inout TestRandom) -> [UInt64] {
        let moved = differences.indices.filter { differences[$0] != 0 }
        let page = UInt64((moved.randomElement(using: &random) ?? 0) * pageSize)
        let inside = page + UInt64.random(in: 0..<UInt64(pageSize), using: &random)
        let image = [0, 1, 0xfff, 0x1000, inside, page, page + 0xfff, size - 1, size, UInt64.max].map { base &+ $0 }
        let others: [UInt64] = [
            0xffff_8880_0000_0000, 0xffff_8880_0000_0000 + inside, 0xffff_8881_0000_0000 + base & 0xffff_ffff,
            0xffff_c900_0000_0000 + inside, 0xffff_ffff_c000_0000 + inside, 0xffff_ea00_0000_0000,
            0xffff_ffff_7fff_ffff,
        ]
        let forms = (image + others).map { $0 &- Self.startKernelMap }
        let near = [32, 33, 47, 62, 63].map { (base + inside &- Self.startKernelMap) ^ 1 << $0 }
        return forms + image.prefix(6) + near + [0, .max, 1 << 63, inside]
    }

    /// Runs a detour of all looks at all addresses.
    mutating func check(_ led: DetourCode.Led, _ random: inout TestRandom) throws {
        for look in led.detour.looks {
            for address in addresses(&random) {
                let held = address &- UInt64(bitPattern: look.displacement)
                var registers = GeneralRegister.all.map { _ in
                    0xffff_8880_0000_0000 + UInt64.random(in: 0..<1 << 32, using: &random) & ~7
                }
                registers[look.register.number] = held
                // An instruction before it may make the address from other registers.
                let alone = GeneralRegister.all.map { $0 == look.register ? held : 0 }
                // What leads a trace to its sum may be a carry, or a comparison with an address.
                let half = GeneralRegister.all.map { register in
                    register == look.register ? held &+ Self.startKernelMap : 1 << 31
                }
                let less = GeneralRegister.all.map { $0 == look.register ? held : .max }
                let other = GeneralRegister.all.map { register in
                    register == look.register ? 1 << 31 : held &+ Self.startKernelMap
                }
                let ways = [registers, alone, registers.map { _ in held }, half, less, other]
                for given in ways {
                    if try check(led, given, &random)[look.place] == address { break }
                }
            }
            // Whatever else leads there.
            for _ in 0..<400 where !moved.contains(look.place) {
                let address = addresses(&random)[4]
                let some = [0, 1, 1 << 31, .max, address, address &+ Self.startKernelMap]
                _ = try check(led, GeneralRegister.all.map { _ in some.randomElement(using: &random) ?? 0 }, &random)
            }
        }
    }

    /// Runs it once, and gives the addresses that it translated, by where.
    private mutating func check(
        _ led: DetourCode.Led, _ given: [UInt64], _ random: inout TestRandom
    ) throws -> [VirtualAddress: UInt64] {
        runs += 1
        let flags = UInt64.random(in: .min ... .max, using: &random) & Self.flags & ~0x400 | 0x202
        let stack = Self.stack + 16 * UInt64.random(in: 0..<64, using: &random)
        for processor in [original, rewritten] {
            try processor.forget()
            for register in GeneralRegister.all { processor[register] = given[register.number] }
            processor[.rsp] = stack
            processor.flags = flags
        }
        var translated: [VirtualAddress: UInt64] = [:]
        let wrong: String?
        do {
            translated = try runOriginal(led)
            try runRewritten(led)
            wrong = try outcome()
        } catch let error as EmulationError {
            wrong = error.description
        }
        if let wrong { findings.append("\(led.detour.start): \(wrong)") }
        return translated
    }

    private mutating func runOriginal(_ led: DetourCode.Led) throws -> [VirtualAddress: UInt64] {
        let (detour, original) = (led.detour, original)
        var translated: [VirtualAddress: UInt64] = [:]
        // Code that was run without a count before is run without one again.
        if !led.hasWaysOut {
            var at = detour.start
            for look in detour.looks {
                if at < look.place { try original.run(from: at.rawValue, until: look.place.rawValue) }
                at = try add(look, detour, &translated) { next in
                    try original.run(from: look.place.rawValue, until: next)
                }
            }
            if at < detour.end { try original.run(from: at.rawValue, until: detour.end.rawValue) }
            return translated
        }
        var at = detour.start
        for instruction in detour.instructions where at == instruction.address {
            if let look = detour.looks.first(where: { $0.place == at }) {
                at = try add(look, detour, &translated) { _ in try original.run(from: at.rawValue, until: 0, count: 1) }
            } else {
                try original.run(from: at.rawValue, until: 0, count: 1)
                at = VirtualAddress(original.place)
            }
        }
        return translated
    }

    /// Adds the offset, and by hand what the page's frame differs.
    private mutating func add(
        _ look: Detour.Look, _ detour: Detour, _ translated: inout [VirtualAddress: UInt64],
        run: (_ next: UInt64) throws -> Void
    ) throws -> VirtualAddress {
        guard let instruction = detour.instructions.first(where: { $0.address == look.place }),
            case .register(let name) = instruction.operands[0], let sum = GeneralRegister(name: name)
        else { throw EmulationError(description: "no sum at \(look.place)") }
        let address = original[look.register] &+ UInt64(bitPattern: look.displacement)
        let difference = difference(address)
        translated[look.place] = address
        try run(instruction.next.rawValue)
        let whole = original[sum] &+ difference
        original[sum] = GeneralRegister.width(of: name) == 32 ? whole & 0xffff_ffff : whole
        if difference != 0 { moved.insert(look.place) }
        return instruction.next
    }

    private func runRewritten(_ led: DetourCode.Led) throws {
        let start = led.detour.start.rawValue
        if !led.hasWaysOut { return try rewritten.run(from: start, until: led.detour.end.rawValue) }
        try rewritten.run(from: start, until: 0, count: 1)
        for _ in 0..<500 where led.code.contains(VirtualAddress(rewritten.place)) {
            try rewritten.run(from: rewritten.place, until: 0, count: 1)
        }
    }

    private func outcome() throws -> String? {
        func hexadecimal(_ number: UInt64) -> String { String(number, radix: 16) }
        for register in GeneralRegister.all where original[register] != rewritten[register] {
            return "\(register) is \(hexadecimal(rewritten[register])), not \(hexadecimal(original[register]))"
        }
        if (original.flags ^ rewritten.flags) & Self.flags != 0 {
            return "the flags are \(hexadecimal(rewritten.flags)), not \(hexadecimal(original.flags))"
        }
        if original.place != rewritten.place {
            return "it goes on at \(hexadecimal(rewritten.place)), not at \(hexadecimal(original.place))"
        }
        // What lies below the stack is nobody's.
        let top = original[.rsp]
        func left(_ processor: EmulatedProcessor) throws -> [UInt64: UInt8] {
            try processor.written().filter { top &- $0.key > 4096 || top == $0.key }
        }
        let (mine, theirs) = try (left(rewritten), left(original))
        if mine == theirs { return nil }
        let places = Set(mine.keys).union(theirs.keys).filter { mine[$0] != theirs[$0] }.sorted()
        return "memory differs at \(places.prefix(4).map(hexadecimal))"
    }
}

extension DetourCode.Led {
    /// Whether a jump may lead out of it before its end.
    fileprivate var hasWaysOut: Bool { detour.instructions.contains { $0.flow != .next } }
}
