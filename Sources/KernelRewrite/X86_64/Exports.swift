// SPDX-License-Identifier: MIT

// What a kernel exports to its modules: the sections `__ksymtab` and
// `__ksymtab_gpl` list it, by offsets from each entry's own fields to the object,
// to its name, and (since 5.4) to the name's space.

import Addressing
import KernelImage

enum Exports {
    private static let sections = ["__ksymtab", "__ksymtab_gpl"]
    /// Of the symbols in the same order, four bytes each.
    private static let versions = ["__ksymtab": "__kcrctab", "__ksymtab_gpl": "__kcrctab_gpl"]
    private static let strings = "__ksymtab_strings"
    /// With and without a space of names, in bytes.
    private static let entrySizes = [12, 8]

    /// The version of an exported symbol, and where it stands; nil when the kernel keeps none.
    static func version(
        of symbol: String, _ map: PageMap, _ image: borrowing KernelImage
    ) -> (address: VirtualAddress, value: UInt32)? {
        for list in sections {
            guard let section = image.section(named: list), let names = image.section(named: strings),
                let versions = versions[list].flatMap({ image.section(named: $0) }),
                let bytes = map.bytes(at: section.address, count: Int(section.size), in: image),
                let size = entrySizes.first(where: { entries(bytes, at: section.address, size: $0, names) != nil }),
                versions.size == UInt64(bytes.count / size * 4)
            else { continue }
            for entry in 0..<bytes.count / size {
                let field = entry * size + 4
                let name = section.address + UInt64(field) + bytes.distance(at: field)
                guard map.bytes(at: name, count: symbol.utf8.count + 1, in: image) == Array(symbol.utf8) + [0],
                    let version = map.bytes(at: versions.address + UInt64(4 * entry), count: 4, in: image)
                else { continue }
                return (versions.address + UInt64(4 * entry), UInt32(truncatingIfNeeded: version.distance(at: 0)))
            }
        }
        return nil
    }

    /// All that is exported and lies in the image; nil when the lists cannot be read.
    static func addresses(_ map: PageMap, _ image: borrowing KernelImage) -> [VirtualAddress]? {
        var found: [VirtualAddress] = []
        for name in sections {
            guard let section = image.section(named: name), section.size > 0 else { continue }
            guard let names = image.section(named: strings),
                let bytes = map.bytes(at: section.address, count: Int(section.size), in: image),
                let all = entrySizes.lazy.compactMap({ entries(bytes, at: section.address, size: $0, names) }).first
            else { return nil }
            found += all
        }
        return found
    }

    /// The objects of a list with entries of a size; nil when not every entry has a name among the names.
    private static func entries(
        _ bytes: [UInt8], at base: VirtualAddress, size: Int, _ names: Section
    ) -> [VirtualAddress]? {
        guard bytes.count.isMultiple(of: size) else { return nil }
        var found: [VirtualAddress] = []
        for at in stride(from: 0, to: bytes.count, by: size) {
            func target(_ field: Int) -> VirtualAddress {
                base + UInt64(field) + bytes.distance(at: field)
            }
            guard names.address <= target(at + 4), target(at + 4) < names.end else { return nil }
            found.append(target(at))
        }
        return found
    }
}

extension [UInt8] {
    /// A signed number of 32 bits, to be added to an address.
    fileprivate func distance(at offset: Int) -> UInt64 {
        let word = self[offset..<offset + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return UInt64(bitPattern: Int64(Int32(bitPattern: word)))
    }
}
