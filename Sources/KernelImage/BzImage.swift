// SPDX-License-Identifier: MIT

// The x86 kernel as distributions ship it (Linux' Documentation/arch/x86/boot.rst):
// a setup header, a small decompressor, and in it the compressed payload, which is
// the stripped ELF with the relocation lists of KASLR behind it. This file reads;
// BzImageReplacing.swift puts another payload in.

import Addressing

/// A vmlinuz of the x86 boot protocol.
public struct BzImage: ~Copyable {
    public let file: MappedFile
    public let header: BzImageHeader
    public let codec: Codec
    /// The compressed stream with its size trailer, in the file.
    public let payload: Range<Int>
    /// What the payload decodes to, in bytes.
    public let decodedSize: Int
    let firmware: FirmwareHeader?

    /// Whether a file has the setup header of the boot protocol.
    public static func isBzImage(_ bytes: RawSpan) -> Bool {
        bytes.byteCount >= 0x206 && bytes.load(0x202, as: UInt32.self) == 0x5372_6448
    }

    /// - Throws: `ImageError` of kind `.unsuitable` for another kind of file, an older protocol or an unknown
    ///   compression, `.malformed` when the header leads outside the file.
    public init(_ file: consuming MappedFile) throws(ImageError) {
        let path = file.path
        let bytes = file.bytes
        guard Self.isBzImage(bytes) else {
            throw ImageError(.unsuitable, file: path, offset: 0x202, "not a bzImage (vmlinuz): it has no setup header")
        }
        let header = try BzImageHeader(bytes, file: path)
        let start = header.setupSize + Int(header.payloadOffset)
        let payload = start..<start + Int(header.payloadLength)
        guard payload.upperBound <= bytes.byteCount, payload.count > 8 else {
            throw ImageError(
                .malformed, file: path, offset: 0x248,
                "the payload of \(payload.count) bytes at \(start.hex) does not fit into the file's \(bytes.byteCount) bytes"
            )
        }
        guard let codec = Codec(detecting: bytes.extracting(payload)) else {
            throw ImageError(
                .unsuitable, file: path, offset: UInt64(start),
                "the payload is not compressed in a way that kperm knows")
        }
        let size = Int(bytes.load(payload.upperBound - 4, as: UInt32.self))
        guard size > 0, size <= Codec.decodedLimit else {
            throw ImageError(
                .malformed, file: path, offset: UInt64(payload.upperBound - 4),
                "the payload claims to hold \(size) bytes, and kperm decodes 1 to \(Codec.decodedLimit)")
        }
        firmware = try FirmwareHeader(bytes, file: path)
        self.header = header
        self.codec = codec
        self.payload = payload
        decodedSize = size
        self.file = file
    }

    /// The compressed stream without its size trailer, in the file.
    var stream: Range<Int> { payload.lowerBound..<payload.upperBound - codec.sizeTrailer }

    /// The payload decoded: a stripped ELF file with the lists of `KASLRRelocations` behind it.
    ///
    /// - Throws: `ImageError` of kind `.malformed` when the payload is damaged, `.unsuitable` when it is LZO.
    public func decode() throws(ImageError) -> [UInt8] {
        do {
            return try codec.decode(file.bytes.extracting(stream), size: decodedSize)
        } catch {
            throw ImageError(
                codec == .lzo ? .unsuitable : .malformed, file: file.path,
                offset: UInt64(stream.lowerBound + (error.offset ?? 0)), "the \(codec) payload: \(error)")
        }
    }

    /// Whether it carries a signature for Secure Boot, which no changed image keeps.
    public var isSigned: Bool { firmware?.isSigned ?? false }
}

/// What the setup header says. A field that the file's version of the protocol does not have is 0.
public struct BzImageHeader: Equatable, Sendable {
    /// The boot protocol: 0x20f is 2.15.
    public let version: UInt16
    /// Bytes in front of the decompressor.
    public let setupSize: Int
    /// From the end of the setup code, in bytes.
    public let payloadOffset: UInt32
    public let payloadLength: UInt32
    /// Whether the kernel can run from another physical address than it was linked for.
    public let isRelocatable: Bool
    /// `xloadflags`: bit 0 is a 64-bit entry point, bit 1 that it can be loaded above 4 GiB.
    public let extendedLoadFlags: UInt16
    /// The physical address it is linked for.
    public let preferredAddress: UInt64
    /// Bytes of memory that it needs from there until it knows the memory map.
    public let initSize: UInt32

    init(_ bytes: RawSpan, file: String) throws(ImageError) {
        guard bytes.byteCount >= 0x268 else {
            throw ImageError(.malformed, file: file, offset: 0x202, "the file ends inside its setup header")
        }
        version = bytes.load(0x206, as: UInt16.self)
        guard version >= 0x208 else {
            throw ImageError(
                .unsuitable, file: file, offset: 0x206,
                "boot protocol \(version >> 8).\(version & 255) does not say where the payload is; kperm needs 2.8")
        }
        let sectors = bytes.load(0x1f1, as: UInt8.self)
        setupSize = (Int(sectors == 0 ? 4 : sectors) + 1) * 512
        payloadOffset = bytes.load(0x248, as: UInt32.self)
        payloadLength = bytes.load(0x24c, as: UInt32.self)
        isRelocatable = bytes.load(0x234, as: UInt8.self) != 0
        extendedLoadFlags = version >= 0x20c ? bytes.load(0x236, as: UInt16.self) : 0
        preferredAddress = version >= 0x20a ? bytes.load(0x258, as: UInt64.self) : 0
        initSize = version >= 0x20a ? bytes.load(0x260, as: UInt32.self) : 0
    }
}
