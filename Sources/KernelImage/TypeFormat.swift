// SPDX-License-Identifier: MIT

// The kernel's own description of its types (BTF), for where a member lies in a
// structure: it is in the image itself, so it needs no debug sections. Format:
// Documentation/bpf/btf.rst of Linux.

/// Types as BTF describes them.
public struct TypeFormat: Sendable {
    /// A member of a structure.
    public struct Member: Hashable, Sendable {
        /// In bytes.
        public let offset: UInt64
        /// Of the structure, in bytes.
        public let structureSize: UInt64
    }

    private let bytes: [UInt8]
    private let types: Range<Int>
    private let strings: Range<Int>

    /// Nil when the bytes are no BTF of this byte order, or do not hold together.
    public init?(_ bytes: [UInt8]) {
        self.bytes = bytes
        guard bytes.count >= 24, bytes[0] == 0x9f, bytes[1] == 0xeb, bytes[2] == 1 else { return nil }
        func word(_ at: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) } }
        let header = word(4)
        types = header + word(8)..<header + word(8) + word(12)
        strings = header + word(16)..<header + word(16) + word(20)
        guard types.upperBound <= bytes.count, strings.upperBound <= bytes.count else { return nil }
    }

    private func word(_ at: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) } }

    private func isName(_ offset: Int, _ name: [UInt8]) -> Bool {
        let start = strings.lowerBound + offset
        return start + name.count < strings.upperBound && bytes[start..<start + name.count].elementsEqual(name)
            && bytes[start + name.count] == 0
    }

    /// Members of a name in all structures; none when a type is of a kind that is not known.
    public func members(named wanted: String) -> Set<Member> {
        let name = Array(wanted.utf8)
        var found: Set<Member> = []
        var at = types.lowerBound
        while at + 12 <= types.upperBound {
            let info = word(at + 4)
            let count = info & 0xffff
            let size: Int
            switch info >> 24 & 0x1f {
            case 2, 7...12, 16, 18: size = 0
            case 1, 14, 17: size = 4
            case 3: size = 12
            case 4, 5, 15, 19: size = 12 * count
            case 6, 13: size = 8 * count
            default: return []
            }
            guard at + 12 + size <= types.upperBound else { return [] }
            if info >> 24 & 0x1f == 4 {
                for member in stride(from: at + 12, to: at + 12 + size, by: 12) where isName(word(member), name) {
                    // With the flag, the upper eight bits are a bit-field's width.
                    let bits = info >> 31 == 1 ? word(member + 8) & 0xff_ffff : word(member + 8)
                    found.insert(Member(offset: UInt64(bits / 8), structureSize: UInt64(word(at + 8))))
                }
            }
            at += 12 + size
        }
        return found
    }
}
