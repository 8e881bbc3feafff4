// SPDX-License-Identifier: MIT

// A vmlinuz is a PE file, too, so that EFI firmware can start it. Three things
// there notice another payload: the checksum, the signature and the size in memory.

/// Where the PE header keeps what a new payload touches; offsets in the file.
struct FirmwareHeader: Equatable, Sendable {
    let checksumOffset: Int
    let checksum: UInt32
    /// Bytes of memory that the firmware provides.
    let imageSize: UInt32
    /// The certificate table's entry in the data directory; nil when there is none.
    let certificateEntry: Int?
    /// The signatures, which end the file; nil when it has none.
    let certificates: Range<Int>?
    var isSigned: Bool { certificates != nil }

    /// Nil when the file has no EFI entry point.
    ///
    /// - Throws: `ImageError` of kind `.malformed` when it says it has and the header does not fit into the file.
    init?(_ bytes: RawSpan, file: String) throws(ImageError) {
        guard bytes.load(0, as: UInt16.self) == 0x5a4d else { return nil }
        func refuse(_ offset: Int) -> ImageError {
            ImageError(.malformed, file: file, offset: UInt64(offset), "the PE header for EFI firmware is damaged")
        }
        let start = Int(bytes.load(0x3c, as: UInt32.self))
        guard start <= bytes.byteCount - 0xc0, start & 1 == 0,
            bytes.load(start, as: UInt32.self) == 0x4550
        else { throw refuse(0x3c) }
        let optional = start + 24
        let directory: Int
        switch bytes.load(optional, as: UInt16.self) {
        case 0x10b: directory = optional + 96
        case 0x20b: directory = optional + 112
        default: throw refuse(optional)
        }
        checksumOffset = optional + 64
        checksum = bytes.load(checksumOffset, as: UInt32.self)
        imageSize = bytes.load(optional + 56, as: UInt32.self)
        let entry = directory + 4 * 8
        certificateEntry = bytes.load(directory - 4, as: UInt32.self) > 4 ? entry : nil
        guard certificateEntry != nil, bytes.load(entry + 4, as: UInt32.self) != 0 else {
            certificates = nil
            return
        }
        let table = Int(bytes.load(entry, as: UInt32.self))
        guard table > directory, table + Int(bytes.load(entry + 4, as: UInt32.self)) == bytes.byteCount else {
            throw refuse(entry)
        }
        certificates = table..<bytes.byteCount
    }

    /// Says in a file whose signatures are gone that it has none, and makes its checksum right where it has one.
    func mend(_ file: inout [UInt8]) {
        if let certificateEntry { for i in 0..<8 { file[certificateEntry + i] = 0 } }
        guard checksum != 0 else { return }
        let sum = checksum(of: file)
        for i in 0..<4 { file[checksumOffset + i] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * i)) }
    }

    /// The checksum that a whole file should have: its 16-bit words but the checksum itself added with carry, and its
    /// size.
    func checksum(of bytes: [UInt8]) -> UInt32 {
        var sum: UInt64 = 0
        for i in stride(from: 0, to: bytes.count & ~1, by: 2) {
            if i == checksumOffset || i == checksumOffset + 2 { continue }
            sum += UInt64(bytes[i]) | UInt64(bytes[i + 1]) << 8
        }
        if bytes.count & 1 == 1 { sum += UInt64(bytes[bytes.count - 1]) }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return UInt32(sum) &+ UInt32(truncatingIfNeeded: bytes.count)
    }
}
