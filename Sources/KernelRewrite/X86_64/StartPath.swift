// SPDX-License-Identifier: MIT

// The C code that runs on the kernel's mapping before the boot stub: what early
// code hands over to, up to the call of `start_kernel`, and what that calls.

import Addressing
import Disassembly
import KernelImage

enum StartPath {
    /// How far calls are followed: what lies deeper only reports.
    private static let depth = 4

    /// The functions, each with its instructions.
    static func functions(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage
    ) -> [(function: Symbol, instructions: [Instruction])] {
        let decoder = Decoder(.x86Bits64)
        var found: [(function: Symbol, instructions: [Instruction])] = []
        var seen: Set<VirtualAddress> = Set(analysis.symbols.all("start_kernel").map(\.address))
        var next = analysis.handedOver
        for name in Rules.startFunctions + ["memblock_reserve"] {
            next += analysis.symbols.all(name).map(\.address)
        }
        for _ in 0..<depth {
            let level = next
            next = []
            for entry in level where seen.insert(entry).inserted {
                guard let function = analysis.index.function(at: entry),
                    let code = analysis.map.bytes(at: function.value, count: Int(function.size), in: image)
                else { continue }
                let instructions = decoder.all(code, at: function.value)
                next += instructions.compactMap(\.target)
                found.append((function, instructions))
            }
        }
        return found
    }
}
