// SPDX-License-Identifier: MIT

// Code that a kernel exchanges for other code when it knows its processor, which
// is code that an audit must follow both ways.

import Addressing
import KernelImage

/// A table of the code that a kernel exchanges when it knows its processor: distances to the original and to what may
/// take its place, from where they stand, and their sizes.
struct AlternativeTable {
    struct Patch {
        let original: Range<VirtualAddress>
        /// Empty where nothing does, or where a function of the kernel makes it.
        let replacement: Range<VirtualAddress>
    }

    let section: String
    /// In bytes: of an entry, and place and size of the fields for sizes.
    let entry: Int
    let originalSize: (at: Int, bytes: Int)
    let replacementSize: (at: Int, bytes: Int)

    /// Nothing when a kernel's table has another layout: an entry that leads out of it tells.
    func patches(_ subject: AuditSubject) -> [Patch] {
        guard let table = subject.sections.first(where: { $0.name == section }), table.bytes.count % entry == 0 else {
            return []
        }
        var patches: [Patch] = []
        for at in stride(from: 0, to: table.bytes.count, by: entry) {
            func number(_ place: Int, _ bytes: Int) -> UInt64 {
                table.bytes[at + place..<at + place + bytes].reversed().reduce(0) { $0 << 8 | UInt64($1) }
            }
            func place(_ field: Int) -> VirtualAddress {
                let distance = Int64(Int32(truncatingIfNeeded: number(field, 4)))
                return table.address + UInt64(at + field) + UInt64(bitPattern: distance)
            }
            let original = place(0)..<place(0) + number(originalSize.at, originalSize.bytes)
            let replacement = place(4)..<place(4) + number(replacementSize.at, replacementSize.bytes)
            // Where nothing takes its place, that nothing may be the end of a section.
            guard subject.section(at: original.lowerBound) != nil,
                replacement.isEmpty || subject.section(at: replacement.lowerBound) != nil
            else { return [] }
            patches.append(Patch(original: original, replacement: replacement))
        }
        return patches
    }
}
