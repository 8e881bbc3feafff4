// SPDX-License-Identifier: MIT

// What there is to know of an architecture whose kernel subtracts an offset in
// memory from addresses of its image: which variable, and how its code reads.
// Common code receives this value and never asks which architecture it is.

import Addressing
import Disassembly
public import KernelImage

/// An architecture of which the audit finds translation sites, and nothing else yet.
public struct OffsetArchitecture: Sendable {
    public let name: String
    /// ELF machine number.
    let machine: UInt16
    /// The variable, and which of its members when it is a structure.
    let variable: String
    let member: String?
    let registerNames: [String]
    let stackPointer: Int
    let arguments: Range<Int>
    /// What a call may change, a bit for each register.
    let callerSaved: UInt64
    /// Of instructions, in bytes.
    let alignment: Int
    let alternatives: AlternativeTable
    /// Gives what decodes the instruction that begins some bytes.
    let decoder: @Sendable () -> (RawSpan, VirtualAddress) -> PlainInstruction?
    /// Whether an instruction begins to form an address in a range: what else it needs may stand anywhere.
    let mayForm: @Sendable (_ word: UInt32, VirtualAddress, Range<VirtualAddress>) -> Bool

    public static let all = [arm64, riscv64]

    /// The architecture of an image, if it is one of these.
    public static func of(_ image: borrowing KernelImage) -> OffsetArchitecture? {
        let header = image.header
        return header.is64Bit && header.isLittleEndian ? all.first { $0.machine == header.machine } : nil
    }

    /// `__kimg_to_phys`: arch/arm64/include/asm/memory.h of Linux; registers: Procedure Call Standard for the Arm
    /// 64-bit Architecture, 6.1.1.
    static let arm64 = OffsetArchitecture(
        name: "arm64", machine: 183, variable: "kimage_voffset", member: nil,
        registerNames: ARM64Decoder.registerNames, stackPointer: 31, arguments: 0..<8, callerSaved: 0x4007_ffff,
        alignment: 4,
        alternatives: AlternativeTable(
            section: ".altinstructions", entry: 12, originalSize: (10, 1), replacementSize: (11, 1)),
        decoder: {
            let decoder = ARM64Decoder()
            return { bytes, address in decoder.decode(bytes, at: address) }
        },
        mayForm: { word, address, range in
            let distance = UInt64(word >> 5 & 0x7_ffff) << 2 | UInt64(word >> 29 & 3)
            let signed = UInt64(bitPattern: Int64(bitPattern: distance << 43) >> 43)
            switch word & 0x9f00_0000 {
            case 0x9000_0000:
                let page = VirtualAddress((address.rawValue & ~0xfff) &+ signed << 12)
                return page < range.upperBound && range.lowerBound.rawValue <= page.rawValue | 0xfff
            case 0x1000_0000: return range.contains(address + signed)
            default: return false
            }
        })

    /// `kernel_mapping_va_to_pa`: arch/riscv/include/asm/page.h of Linux; registers: RISC-V ABIs Specification, 1.1.
    static let riscv64 = OffsetArchitecture(
        name: "riscv64", machine: 243, variable: "kernel_map", member: "va_kernel_pa_offset",
        registerNames: RISCV64.registerNames, stackPointer: 2, arguments: 10..<18, callerSaved: 0xf003_fce2,
        alignment: 2,
        alternatives: AlternativeTable(
            section: ".alternative", entry: 16, originalSize: (10, 2), replacementSize: (10, 2)),
        decoder: { { bytes, address in RISCV64.decode(bytes, at: address) } },
        mayForm: { word, address, range in
            guard word & 0x5f == 0x17 else { return false }
            let upper = UInt64(bitPattern: Int64(Int32(bitPattern: word & 0xffff_f000)))
            let first = word & 0x7f == 0x17 ? address.rawValue &+ upper : upper
            // The other half takes up to 2048 off, or adds up to 2047.
            let size = range.upperBound - range.lowerBound
            return first &- (range.lowerBound.rawValue &- 2047) < size + 4095
        })
}
