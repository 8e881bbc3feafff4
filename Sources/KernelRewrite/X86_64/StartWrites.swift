// SPDX-License-Identifier: MIT

// What the kernel writes between its first instruction and the end of the boot
// stub. A check that compares every byte at that moment must know where bytes
// may differ from the image; everywhere else one wrong byte is a failure. The
// functions that run until then are decoded, with those they call, and each
// object they refer to may have been written. That is more than they do write,
// and no page is judged by it but in that one comparison.

import Addressing
import Disassembly
import KernelImage
import PagePermutation

enum StartWrites {
    static func find(_ analysis: KernelAnalysis, _ image: borrowing KernelImage) -> [Range<VirtualAddress>] {
        let map = analysis.map
        var written = analysis.pins.map { pin in
            map.virtualBase + UInt64(pin.pages.lowerBound * pageSize)..<map.virtualBase
                + UInt64(pin.pages.upperBound * pageSize)
        }
        for name in Rules.memblock { written += analysis.symbols.all(name).map(\.range) }
        let perCPU = perCPUTemplate(analysis)
        for (_, instructions) in StartPath.functions(analysis, image) {
            for instruction in instructions where instruction.target == nil {
                let named = instruction.constants(knownBases: []).map { VirtualAddress($0) }
                for reference in named + [instruction.relativeReference].compactMap({ $0 }) {
                    if let variable = perCPU?.variable(at: reference.rawValue) { written.append(variable) }
                    guard map.page(of: reference) != nil else { continue }
                    written.append(analysis.data.object(at: reference) ?? reference..<reference + 8)
                }
            }
        }
        return written.mergedRanges
    }

    /// The per-CPU template, whose variables are named by their distance from its start.
    private struct PerCPU {
        let load: VirtualAddress
        let size: UInt64

        func variable(at offset: UInt64) -> Range<VirtualAddress>? {
            guard offset < size else { return nil }
            return load + offset..<load + min(offset + 16, size)
        }
    }

    private static func perCPUTemplate(_ analysis: KernelAnalysis) -> PerCPU? {
        guard let load = analysis.symbols.optional("__per_cpu_load")?.address,
            let start = analysis.symbols.optional("__per_cpu_start")?.address,
            let end = analysis.symbols.optional("__per_cpu_end")?.address, start < end
        else { return nil }
        return PerCPU(load: load, size: end - start)
    }
}
