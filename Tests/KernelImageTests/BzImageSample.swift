// SPDX-License-Identifier: MIT

// A small vmlinuz made of values: setup header, PE header, a payload in any codec
// with a tiny ELF and its relocation lists, and a decompressor that is only the
// two lengths it would have.

import Glibc
import KernelImage
import Testing

/// Bytes in little-endian order.
func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * T($0))) }
}

extension [UInt8] {
    mutating func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        replaceSubrange(offset..<offset + T.bitWidth / 8, with: little(value))
    }

    func word(_ offset: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(self[offset + $1]) << UInt32(8 * $1) } }
}

/// A stripped kernel: text at 0xffffffff81000000, a per-CPU segment linked at 0 behind it, and lists of relocations.
struct SampleKernel {
    var is64Bit = true
    var lists: [[UInt32]] = [[0x8100_0100, 0x8100_2ff8], [0x8100_0204], [0x8100_0008, 0x8100_0300, 0x8100_2ffc]]
    /// Behind the ELF, in front of the lists.
    var gap: [UInt8] = []

    /// Where the sections' headers are, which are last.
    static let sections = 0x4000

    var elf: [UInt8] {
        var bytes = someBytes(0x4000)
        bytes.replaceSubrange(0..<0x1000, with: [UInt8](repeating: 0, count: 0x1000))
        bytes.replaceSubrange(0..<7, with: [0x7f, 0x45, 0x4c, 0x46, is64Bit ? 2 : 1, 1, 1])
        let base: UInt64 = is64Bit ? 0xffff_ffff_8100_0000 : 0xc100_0000
        let segments: [(offset: UInt64, virtual: UInt64, physical: UInt64, size: UInt64)] = [
            (0x1000, base, 0x100_0000, 0x2000), (0x3000, is64Bit ? 0 : base + 0x2000, 0x100_2000, 0x1000),
        ]
        var sections = [UInt8](repeating: 0, count: is64Bit ? 128 : 80)
        if is64Bit {
            bytes.put(UInt64(64), at: 32)
            bytes.put(UInt64(Self.sections), at: 40)
            for (i, value) in [UInt16(56), 2, 64, 2].enumerated() { bytes.put(value, at: 54 + 2 * i) }
            for (i, segment) in segments.enumerated() {
                let words = [1, segment.offset, segment.virtual, segment.physical, segment.size, segment.size, 4096]
                bytes.replaceSubrange(64 + 56 * i..<64 + 56 * (i + 1), with: words.flatMap { little($0) })
            }
            sections.put(UInt32(1), at: 64 + 4)
            sections.put(UInt64(0x1000), at: 64 + 24)
            sections.put(UInt64(0x2000), at: 64 + 32)
        } else {
            bytes.put(UInt32(52), at: 28)
            bytes.put(UInt32(Self.sections), at: 32)
            for (i, value) in [UInt16(32), 2, 40, 2].enumerated() { bytes.put(value, at: 42 + 2 * i) }
            for (i, segment) in segments.enumerated() {
                let words = [1, segment.offset, segment.virtual, segment.physical, segment.size, segment.size, 5, 4096]
                bytes.replaceSubrange(
                    52 + 32 * i..<52 + 32 * (i + 1), with: words.flatMap { little(UInt32(truncatingIfNeeded: $0)) })
            }
        }
        return bytes + sections
    }

    var bytes: [UInt8] { elf + gap + lists.flatMap { [0] + $0 }.flatMap { little($0) } }
}

/// The container; `bytes` is the file.
struct SampleBzImage {
    var codec = Codec.gzip
    var kernel = SampleKernel().bytes
    /// 1 makes 1024 bytes of setup code, 0 stands for 4.
    var sectors: UInt8 = 1
    var version: UInt16 = 0x20f
    var isSigned = false
    var hasFirmwareHeader = true
    /// What stands for `input_len` and `output_len`; nil for the true ones, once.
    var lengths: [UInt8]?
    var hasValidChecksum = true

    static let firmware = 0x40
    static let checksum = firmware + 24 + 64
    static let imageSize = firmware + 24 + 56
    static let certificates = firmware + 24 + 112 + 32

    var stream: [UInt8] {
        get throws { try codec.encode(kernel) + (codec == .gzip ? [] : little(UInt32(kernel.count))) }
    }

    var payloadStart: Int { (Int(sectors == 0 ? 4 : sectors) + 1) * 512 + 24 }

    var bytes: [UInt8] {
        get throws {
            let stream = try stream
            var bytes = [UInt8](repeating: 0, count: payloadStart)
            if hasFirmwareHeader {
                bytes.replaceSubrange(0..<2, with: Array("MZ".utf8))
                bytes.put(UInt32(Self.firmware), at: 0x3c)
                bytes.replaceSubrange(Self.firmware..<Self.firmware + 2, with: Array("PE".utf8))
                bytes.put(UInt16(0x20b), at: Self.firmware + 24)
                bytes.put(UInt32(0x10_0000), at: Self.imageSize)
                bytes.put(UInt32(6), at: Self.firmware + 24 + 108)
                if isSigned { bytes.put(UInt32(0x1234), at: Self.checksum) }
            }
            bytes[0x1f1] = sectors
            bytes.replaceSubrange(0x202..<0x206, with: Array("HdrS".utf8))
            bytes.put(version, at: 0x206)
            bytes[0x234] = 1
            bytes.put(UInt16(0x7f), at: 0x236)
            bytes.put(UInt32(24), at: 0x248)
            bytes.put(UInt32(stream.count), at: 0x24c)
            bytes.put(UInt64(0x100_0000), at: 0x258)
            bytes.put(UInt32(0x200_0000), at: 0x260)
            bytes += stream
            bytes += [1, 2, 3] + (lengths ?? little(UInt32(stream.count)) + little(UInt32(kernel.count)))
            bytes += someBytes(100)
            bytes += little(crc(bytes) ^ (hasValidChecksum ? 0 : 1))
            return hasFirmwareHeader && isSigned ? Self.signed(bytes) : bytes
        }
    }

    /// With a signature, which begins at a multiple of 8.
    static func signed(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes + [UInt8](repeating: 0, count: (8 - bytes.count % 8) % 8)
        bytes.put(UInt32(bytes.count), at: Self.certificates)
        bytes.put(UInt32(1472), at: Self.certificates + 4)
        return bytes + [UInt8](repeating: 0x5a, count: 1472)
    }

    /// A mapping of some bytes.
    static func open(_ bytes: [UInt8]) throws -> BzImage {
        var path = Array("/tmp/kperm-test-XXXXXX\u{0}".utf8).map { CChar($0) }
        let descriptor = unsafe mkstemp(&path)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        _ = unsafe unlink(path)
        try #require(unsafe write(descriptor, bytes, bytes.count) == bytes.count)
        return try BzImage(MappedFile.map(descriptor: descriptor, name: "some.vmlinuz"))
    }

    func open() throws -> BzImage { try Self.open(bytes) }
}

/// The boot protocol's CRC-32, bit by bit: 0 for a file that ends with it.
func crc(_ bytes: [UInt8]) -> UInt32 {
    bytes.reduce(~0) { state, byte in
        (0..<8).reduce(state ^ UInt32(byte)) { state, _ in state & 1 == 0 ? state >> 1 : state >> 1 ^ 0xedb8_8320 }
    }
}

/// What `body` is refused with.
func refusal(_ body: () throws -> Void) -> ImageError? {
    do {
        try body()
        return nil
    } catch { return error as? ImageError }
}
