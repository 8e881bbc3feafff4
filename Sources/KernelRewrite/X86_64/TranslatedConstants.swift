// SPDX-License-Identifier: MIT

// `__pa(x)` of a static object, when the compiler cannot know that x is one of
// the image's, is computed in registers: x + 2^31 is x - __START_KERNEL_map, and
// the carry tells an address of the image from one of the linear map.
//
//     mov $0x80000000, %ebp         mov $object, %rdx
//     add $object, %rbp             sub $0xffffffff80000000, %rdx
//
// The object is then addressed physically as surely as by a constant, but no
// word of the image holds the physical address: page tables that the kernel
// installs itself are found only here. Each place of the constant 2^31 with an
// address of the image near it is decoded, and the registers are followed.

import Addressing
import Disassembly
import KernelImage

struct TranslatedConstants {
    private static let before = 48
    private static let after = 72

    /// Objects translated, and where.
    private(set) var found: [(target: VirtualAddress, place: VirtualAddress)] = []

    private let addresses: Range<UInt32>
    private let map: PageMap

    init(_ map: PageMap) {
        self.map = map
        let low = UInt32(truncatingIfNeeded: map.virtualRange.lowerBound.rawValue)
        let high = UInt32(truncatingIfNeeded: map.virtualRange.upperBound.rawValue)
        addresses = low > 1 << 31 && low < high ? low..<high : 0..<0
    }

    /// Looks around the places of the constant 2^31 in a section's code.
    mutating func add(_ halves: [Int], in code: RawSpan, at base: VirtualAddress) {
        let decoder = Decoder(.x86Bits64)
        for place in halves {
            guard let sources = sources(around: place, code) else { continue }
            follow(decoder, code, sources, to: min(place + Self.after, code.byteCount), base)
        }
    }

    /// From the first to the last of the instructions that bring in the constant at a place, or an address of the image
    /// near it; nil when there is no such address.
    private func sources(around place: Int, _ code: RawSpan) -> ClosedRange<Int>? {
        guard let constant = Self.instruction(holding: place, code) else { return nil }
        var sources: ClosedRange<Int>?
        for near in max(1, place - Self.before)..<max(1, min(place + Self.after, code.byteCount - 3)) {
            guard addresses.contains(code.load(near, as: UInt32.self)),
                let other = Self.instruction(holding: near, code)
            else { continue }
            let known = sources ?? constant...constant
            sources = min(known.lowerBound, other)...max(known.upperBound, other)
        }
        return sources
    }

    /// The start of an instruction whose last four bytes are a constant or a displacement.
    private static func instruction(holding place: Int, _ code: RawSpan) -> Int? {
        func byte(_ back: Int) -> UInt8 { place < back ? 0 : code.load(place - back, as: UInt8.self) }
        let isWide = byte(3) & 0xf0 == 0x40
        switch (byte(2), byte(1)) {
        case (0x81, 0xc0...0xc7), (0x81, 0xe8...0xef), (0xc7, 0xc0...0xc7), (0x8d, 0x80...0xbf):
            return isWide ? place - 3 : place - 2
        case (0x40...0x4f, 0xb8...0xbf), (0x40...0x4f, 0x05), (0x40...0x4f, 0x2d): return place - 2
        case (_, 0xb8...0xbf): return place - 1
        default: return nil
        }
    }

    private mutating func follow(
        _ decoder: borrowing Decoder, _ code: RawSpan, _ sources: ClosedRange<Int>, to end: Int, _ base: VirtualAddress
    ) {
        var registers: [String: UInt64] = [:]
        func value(_ operand: Operand) -> UInt64? {
            switch operand {
            case .immediate(let value): UInt64(bitPattern: value)
            case .register(let name): registers[Self.whole(name)]
            case .memory: nil
            }
        }
        func isAddress(_ value: UInt64?) -> Bool { value.map { map.page(of: VirtualAddress($0)) != nil } ?? false }
        func translated(_ a: UInt64?, _ b: UInt64?) -> UInt64? {
            if a == 1 << 31, isAddress(b) { return b }
            return b == 1 << 31 && isAddress(a) ? a : nil
        }
        // Behind the sources, registers that do not hold both a constant and an address by now never will.
        var isOpen: Bool { registers.values.contains(1 << 31) && registers.values.contains(where: isAddress) }
        var at = sources.lowerBound
        while at < end, at <= sources.upperBound || isOpen,
            let instruction = decoder.decode(code.extracting(at..<code.byteCount), at: base + UInt64(at))
        {
            at += instruction.size
            guard case .register(let name) = instruction.operands.first else { continue }
            let register = Self.whole(name)
            var result: UInt64?
            var hit: UInt64?
            switch instruction.mnemonic {
            case "mov", "movabs":
                result = instruction.operands.last.flatMap(value)
                if name.hasPrefix("e") || name.hasSuffix("d") { result = result.map { $0 & 0xffff_ffff } }
            case "add": hit = translated(registers[register], instruction.operands.last.flatMap(value))
            case "sub":
                let negative = instruction.operands.last.flatMap(value).map { 0 &- $0 }
                hit = translated(registers[register], negative)
            case "lea":
                if case .memory(let base?, let index, let displacement) = instruction.operands.last {
                    let other = index.map { registers[Self.whole($0)] } ?? UInt64(bitPattern: displacement)
                    hit = translated(registers[Self.whole(base)], other)
                }
            case "cmp", "test", "push": continue
            default: break
            }
            if let hit { found.append((VirtualAddress(hit), instruction.address)) }
            registers[register] = result
        }
    }

    /// The 64-bit name of a register.
    private static func whole(_ name: String) -> String {
        if name.hasPrefix("e") { return "r" + name.dropFirst() }
        return name.hasPrefix("r") && name.hasSuffix("d") ? String(name.dropLast()) : name
    }
}
