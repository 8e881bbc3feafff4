// SPDX-License-Identifier: MIT

// `__pa(x)` of a static object, when the compiler cannot know that x is one of
// the image's, is computed in registers: x + 2^31 is x - __START_KERNEL_map, and
// the carry tells an address of the image from one of the linear map.
//
//     mov $0x80000000, %ebp         mov $object, %rdx
//     add $object, %rbp             sub $0xffffffff80000000, %rdx
//
//     mov $0x80000000, %edx
//     mov phys_base(%rip), %rax
//     lea object(%rdx,%rax), %rax
//
// The object is then addressed physically as surely as by a constant, but no
// word of the image holds the physical address: page tables that the kernel
// installs itself are found only here. Each place of the constant 2^31 with an
// address of the image near it is decoded, and the registers are followed, along
// jumps ahead, too.

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
        // `lea` of two registers, or of a multiple of one, and a displacement.
        let hasTwo = byte(2) & 0xc7 == 0x84 || byte(2) & 0xc7 == 0x04 && byte(1) & 0x07 == 0x05
        if byte(4) & 0xf0 == 0x40, byte(3) == 0x8d, hasTwo { return place - 4 }
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
        var paths = [Sums()]
        var joining: [VirtualAddress: [Sums]] = [:]
        var at = sources.lowerBound
        var isOpen: Bool {
            paths.contains(where: self.isOpen) || joining.values.contains { $0.contains(where: self.isOpen) }
        }
        while at < end, at <= sources.upperBound || isOpen,
            let instruction = decoder.decode(code.extracting(at..<code.byteCount), at: base + UInt64(at))
        {
            at += instruction.size
            if !joining.isEmpty {
                for path in joining.removeValue(forKey: instruction.address) ?? [] { Self.add(path, to: &paths) }
            }
            if let target = instruction.target, instruction.flow != .call {
                // What follows a jump is looked at with the same registers: it is reached from somewhere.
                if target > instruction.address, target < base + UInt64(end) {
                    for path in paths { Self.add(path, to: &joining[target, default: []]) }
                }
                continue
            }
            if instruction.writes.isEmpty { continue }
            let isMaybe = instruction.mnemonic.hasPrefix("cmov")
            for i in paths.indices {
                let before = paths[i]
                paths[i] = execute(instruction, before)
                if isMaybe { Self.add(before, to: &paths) }
            }
        }
    }

    /// For each register the constant in it, if it holds one, or the sum of one and what is not known; 0 for what holds
    /// none.
    private struct Sums: Equatable {
        private var constants = SIMD16<UInt64>()

        subscript(register: GeneralRegister) -> UInt64 {
            get { constants[register.number] }
            set { constants[register.number] = newValue }
        }

        subscript(name: String?) -> UInt64 { name.flatMap(GeneralRegister.init(name:)).map { self[$0] } ?? 0 }

        func contains(where fits: (UInt64) -> Bool) -> Bool { constants.indices.contains { fits(constants[$0]) } }
    }

    /// So few bytes have few paths; more are given up.
    private static let mostPaths = 16

    private static func add(_ path: Sums, to paths: inout [Sums]) {
        if paths.count < mostPaths, !paths.contains(path) { paths.append(path) }
    }

    private func isAddress(_ value: UInt64) -> Bool { map.page(of: VirtualAddress(value)) != nil }

    /// Behind the sources, registers that do not hold both the constant and an address by now never will.
    private func isOpen(_ path: Sums) -> Bool {
        path.contains { $0 == 1 << 31 } && path.contains(where: isAddress)
    }

    /// The registers after an instruction.
    private mutating func execute(_ instruction: Instruction, _ before: Sums) -> Sums {
        var after = before
        for register in GeneralRegister.all where instruction.writes.contains(register) { after[register] = 0 }
        guard case .register(let name) = instruction.operands.first, let register = GeneralRegister(name: name),
            let last = instruction.operands.last
        else { return after }
        let source =
            switch last {
            case .immediate(let value): UInt64(bitPattern: value)
            case .register(let name): before[name]
            case .memory: UInt64(0)
            }
        func sum(_ a: UInt64, _ b: UInt64) -> UInt64 {
            let target = a == 1 << 31 ? b : a
            let hit = (target: VirtualAddress(target), place: instruction.address)
            if a == 1 << 31 || b == 1 << 31, isAddress(target), !found.contains(where: { $0 == hit }) {
                found.append(hit)
            }
            return a &+ b
        }
        switch instruction.mnemonic {
        case "mov", "movabs": after[register] = source
        case let mnemonic where mnemonic.hasPrefix("cmov"): after[register] = source
        case "add": after[register] = sum(before[register], source)
        case "sub": after[register] = source == 0 ? 0 : sum(before[register], 0 &- source)
        case "lea":
            guard case .memory(let base, let index, let displacement) = last, base != "rip" else { break }
            let first = before[base]
            let second = instruction.scale == 1 ? before[index] : 0
            let third = UInt64(bitPattern: displacement)
            _ = sum(first, second &+ third)
            if second != 0 { _ = sum(second, first &+ third) }
            after[register] = first != 0 && second != 0 ? sum(third, first &+ second) : first &+ second &+ third
        default: break
        }
        if GeneralRegister.width(of: name) == 32 { after[register] &= 0xffff_ffff }
        return after
    }
}
