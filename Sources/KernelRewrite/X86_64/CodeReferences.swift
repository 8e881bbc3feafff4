// SPDX-License-Identifier: MIT

// What a function names: every address of the image in its instructions, as it
// stands, relative to the instruction pointer, or physical.

import Addressing
import Disassembly
import KernelImage

struct CodeReferences {
    struct Reference {
        let address: VirtualAddress
        /// An address as such, and not a place that the instruction reads or writes.
        let isValue: Bool
    }

    /// A function's instructions, each with what it names.
    typealias Function = [(instruction: Instruction, named: [Reference])]

    private let map: PageMap
    private let symbols: KernelSymbols

    init(_ map: PageMap, _ symbols: KernelSymbols) {
        self.map = map
        self.symbols = symbols
    }

    /// The first of these functions that are there, decoded; functions that a compiler split off go with them.
    func functions(_ names: [String], in image: borrowing KernelImage) -> [Function] {
        let decoder = Decoder(.x86Bits64)
        var found: [Function] = []
        for place in names.flatMap({ symbols.all($0) }) where place.size > 0 {
            guard let code = map.bytes(at: place.address, count: Int(place.size), in: image) else { continue }
            found.append(decoder.all(code, at: place.address).map { ($0, references($0)) })
        }
        return found
    }

    /// All that these functions name.
    func references(of names: [String], in image: borrowing KernelImage) -> [Reference] {
        functions(names, in: image).flatMap { $0.flatMap(\.named) }
    }

    private func references(_ instruction: Instruction) -> [Reference] {
        var found: [Reference] = []
        func add(_ constant: UInt64, isValue: Bool) {
            let virtual = VirtualAddress(constant)
            if map.virtualBase <= virtual, virtual <= map.virtualRange.upperBound {
                found.append(Reference(address: virtual, isValue: isValue))
            } else if map.physicalBase.rawValue < constant, constant <= map.physicalRange.upperBound.rawValue {
                found.append(
                    Reference(address: map.virtualBase + (constant - map.physicalBase.rawValue), isValue: isValue))
            }
        }
        for operand in instruction.operands {
            switch operand {
            case .immediate(let value) where instruction.flow == .next: add(UInt64(bitPattern: value), isValue: true)
            case .memory(base: "rip", index: nil, let displacement):
                add(
                    instruction.next.rawValue &+ UInt64(bitPattern: displacement),
                    isValue: instruction.mnemonic == "lea")
            case .memory(_, _, let displacement):
                add(UInt64(bitPattern: displacement), isValue: instruction.mnemonic == "lea")
            default: break
            }
        }
        return found
    }
}
