// SPDX-License-Identifier: MIT

// Finds the instructions that refer to an address, without relocations and
// without decoding everything: a 32-bit displacement from the instruction
// pointer, or the low half of the address itself, stands somewhere in the
// instruction. What fits is decoded with its function before it counts.

import Addressing

/// Places in code where a reference to an address may stand.
enum References {
    /// Addresses of four-byte fields that name `target`, relative to the instruction's end or absolutely. Not all need be
    /// instructions.
    static func candidates(to target: VirtualAddress, in subject: AuditSubject) -> [VirtualAddress] {
        var found: [VirtualAddress] = []
        for section in subject.sections where section.isExecutable && section.bytes.count >= 4 {
            unsafe section.bytes.span.bytes.withUnsafeBytes { bytes in
                let low = UInt32(truncatingIfNeeded: target.rawValue)
                // An immediate of up to four bytes may follow the displacement.
                let end = UInt32(truncatingIfNeeded: target.rawValue &- section.address.rawValue &- 4)
                for at in 0...bytes.count - 4 {
                    let word = unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
                    let rest = end &- UInt32(truncatingIfNeeded: at) &- word
                    if rest <= 4 || word == low { found.append(section.address + UInt64(at)) }
                }
            }
        }
        return found
    }
}
