// SPDX-License-Identifier: MIT

// What runs with the MMU off, and what it touches: each page must keep its
// frame. The code is followed from the ELF entry and from where other harts
// enter, along direct calls and both sides of branches. A path ends where it
// jumps through a register: that is how the kernel enters its virtual addresses.
//
// Addresses are formed relative to the code. One that names an object counts as
// a reference to it, because it may go into a page table; where a border lies
// (a symbol without a size, `_etext`) it stands for the border, unless memory is
// accessed through it.

import Addressing
import Disassembly
import KernelImage
import PagePermutation

struct StartCode {
    private(set) var pins: [Pin] = []
    private(set) var functions: Set<VirtualAddress> = []
    private(set) var instructions = 0
    /// What these functions write, with the MMU off or on, ascending.
    private(set) var written: [Range<VirtualAddress>] = []

    /// No kernel's start that could be followed is longer.
    private static let limit = 20_000
    private static let stackPointer = 2
    /// Registers that a call keeps: sp, gp, tp, s0 to s11.
    private static let kept: Set<Int> = Set([2, 3, 4, 8, 9] + Array(18...27))

    private let map: PageMap
    private let index: AddressIndex
    private let file: String
    private var seen: Set<Int> = []

    private struct Path {
        var address: VirtualAddress
        /// Registers with an address in them.
        var registers: [Int: UInt64] = [:]
    }

    init(
        _ image: borrowing KernelImage, _ map: PageMap, _ index: AddressIndex, _ symbols: KernelSymbols
    ) throws(RewriteError) {
        self.map = map
        self.index = index
        file = image.path
        let entry = PhysicalAddress(image.header.entry)
        guard map.physicalRange.contains(entry) else {
            throw .unsupported(
                file: file, "the entry point \(entry) lies outside the image: kperm does not know this kernel's start")
        }
        var paths = [Path(address: map.virtualBase + (entry - map.physicalBase))]
        for name in RISCV64Kernel.otherEntries {
            if let place = symbols.optional(name) { paths.append(Path(address: place.address)) }
        }
        let pointer = try TablePointer.place(symbols)
        pin(pointer..<pointer + 8, "read before the mapping is live", TablePointer.symbol)
        try follow(paths, image)
        pins.sort { $0.pages.lowerBound < $1.pages.lowerBound }
        for function in functions { findWrites(in: function, image) }
        written = written.mergedRanges
    }

    private mutating func pin(_ range: Range<VirtualAddress>, _ reason: String, _ evidence: String) {
        for page in map.pages(of: range) where seen.insert(page).inserted {
            pins.append(Pin(pages: page..<page + 1, reason: reason, evidence: evidence))
        }
    }

    private func decode(at address: VirtualAddress, _ image: borrowing KernelImage) -> PlainInstruction? {
        // Four bytes, or two at the end of what the file has.
        for count in [4, 2] {
            if let bytes = map.bytes(at: address, count: count, in: image) {
                return unsafe RISCV64.decode(bytes.span.bytes, at: address)
            }
        }
        return nil
    }

    private mutating func follow(_ start: [Path], _ image: borrowing KernelImage) throws(RewriteError) {
        var paths = start
        var visited: Set<VirtualAddress> = []
        while var path = paths.popLast() {
            functions.insert(index.function(at: path.address)?.value ?? path.address)
            while visited.insert(path.address).inserted {
                guard let instruction = decode(at: path.address, image) else {
                    throw .unsupported(
                        file: file,
                        "code at \(path.address), run with the MMU off, does not decode: kperm cannot tell what it touches"
                    )
                }
                instructions += 1
                guard instructions <= Self.limit else {
                    throw .unsupported(
                        file: file,
                        "more than \(Self.limit) instructions seem to run with the MMU off: kperm does not know this "
                            + "kernel's start")
                }
                let place = "\(instruction.text) at \(instruction.address)"
                pin(instruction.address..<instruction.next, "runs with the MMU off", place)
                for range in path.registers.references(of: instruction, index) {
                    pin(range, "touched with the MMU off", place)
                }
                path.registers.follow(instruction)
                if let target = instruction.target {
                    paths.append(Path(address: target, registers: path.registers))
                }
                if instruction.flow == .end || instruction.flow == .jump { break }
                if instruction.flow == .call { path.registers = path.registers.filter { Self.kept.contains($0.key) } }
                path.address = instruction.next
            }
        }
    }

    /// The objects that a function stores to, and its stack.
    private mutating func findWrites(in function: VirtualAddress, _ image: borrowing KernelImage) {
        guard let end = index.function(at: function)?.end else { return }
        var registers: [Int: UInt64] = [:]
        var address = function
        while address < end, let instruction = decode(at: address, image) {
            for case .store(_, base: let base, let displacement, _) in instruction.effects {
                guard let start = registers[base] else { continue }
                let target = VirtualAddress(start &+ displacement)
                written.append(index.object(at: target) ?? target..<target + 8)
            }
            registers.follow(instruction)
            // A stack is named by its end.
            for case .addConstant(to: Self.stackPointer, _, _) in instruction.effects {
                guard let end = registers[Self.stackPointer] else { continue }
                if let stack = index.object(at: VirtualAddress(end &- 1)) { written.append(stack) }
            }
            address = instruction.next
        }
    }
}

extension AddressIndex {
    fileprivate func object(at address: VirtualAddress) -> Range<VirtualAddress>? {
        covering(address).first { $0.size > 0 && $0.kind == .object }.map { $0.value..<$0.end }
    }

    fileprivate func isBorder(_ address: VirtualAddress) -> Bool {
        covering(address).contains { $0.size == 0 && $0.value == address }
    }
}

extension [Int: UInt64] {
    /// What an instruction refers to, given the addresses in registers.
    fileprivate func references(of instruction: PlainInstruction, _ index: AddressIndex) -> [Range<VirtualAddress>] {
        instruction.effects.compactMap { effect in
            switch effect {
            case .addConstant(_, let from, let amount):
                guard let start = self[from] else { return nil }
                let address = VirtualAddress(start &+ amount)
                return index.isBorder(address) ? nil : index.object(at: address)
            case .load(_, let base, let displacement, let bytes), .store(_, let base, let displacement, let bytes):
                guard let start = self[base] else { return nil }
                let address = VirtualAddress(start &+ displacement)
                return index.object(at: address) ?? address..<address + UInt64(bytes)
            default: return nil
            }
        }
    }

    fileprivate mutating func follow(_ instruction: PlainInstruction) {
        var next = self
        for register in keys where instruction.allWrites & 1 << UInt64(register) != 0 { next[register] = nil }
        for effect in instruction.effects {
            switch effect {
            case .set(let to, let value): next[to] = value
            case .addConstant(let to, let from, let amount): next[to] = self[from].map { $0 &+ amount }
            default: break
            }
        }
        self = next
    }
}
