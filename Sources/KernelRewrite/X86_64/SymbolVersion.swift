// SPDX-License-Identifier: MIT

// A kernel with CONFIG_MODVERSIONS loads a module only if both give every symbol
// that the module takes the same version, a checksum of its type. A module whose
// translations ask the table is right for one place of the table only; so the
// version of phys_base, which only modules that translate take, becomes another
// one, which the place decides.

import Addressing

/// The version of a symbol, in the kernel as it was built and in the rewritten one.
public struct SymbolVersion: Equatable, Sendable {
    let original: UInt32
    let own: UInt32
}

extension KernelLookups {
    /// A version for a kernel whose table lies here.
    func version(from original: UInt32) -> SymbolVersion {
        // FNV-1a, of 32 bits.
        let words = [table.rawValue &- physBase.rawValue, text.rawValue &- physBase.rawValue, UInt64(pages)]
        let hash = words.reduce(UInt32(0x811c_9dc5)) { hash, word in
            (0..<8).reduce(hash) { ($0 ^ UInt32(truncatingIfNeeded: word >> (8 * UInt64($1)) & 0xff)) &* 0x0100_0193 }
        }
        return SymbolVersion(original: original, own: original ^ (hash | 1))
    }
}
