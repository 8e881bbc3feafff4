// SPDX-License-Identifier: MIT

// Another payload in an old image. Nothing moves: the decompressor's code refers
// to the payload by address, so the new stream starts where the old one did, ends
// at most where it ended, and decodes to as many bytes. The decompressor unpacks
// over itself: the compressed kernel stands at the end of `init_size` bytes and
// the output must not overtake the input. The build keeps a margin for that from
// where the stream ends, so a stream that ends earlier takes from it.

import Addressing
import CCodecs

extension BzImage {
    /// The whole file with another payload, of the same size as this one but for signatures, which it loses.
    ///
    /// - Parameter decoded: the new payload, as long as what `decode` gives.
    /// - Throws: `ImageError` of kind `.unsuitable` when the payload does not fit, and says by how many bytes; or when
    ///   the image does not say its size in the one way that is known.
    public func replacing(_ decoded: [UInt8]) throws(ImageError) -> [UInt8] {
        guard decoded.count == decodedSize else {
            throw ImageError(
                .unsuitable, file: file.path,
                "the new payload has \(decoded.count) bytes decoded, and the image has room for exactly \(decodedSize)")
        }
        let stream: [UInt8]
        do {
            stream = try codec.encode(
                decoded, atMost: self.stream.count, original: file.bytes.extracting(self.stream))
        } catch {
            throw ImageError(
                .unsuitable, file: file.path, offset: UInt64(payload.lowerBound), "the new payload: \(error)")
        }
        return try replacing(stream: stream)
    }

    /// Where this file is not what `original` with this one's payload would be, in bytes of the file; empty when
    /// `replacing` can have made it. What the payload decodes to is not looked at.
    public func differences(from original: borrowing BzImage) -> [Range<Int>] {
        var bytes = unsafe file.bytes.withUnsafeBytes { unsafe Array($0) }
        if let certificates = firmware?.certificates { bytes.removeSubrange(certificates) }
        guard stream.count <= original.stream.count,
            let wanted = try? original.replacing(
                stream: unsafe file.bytes.extracting(stream).withUnsafeBytes { unsafe Array($0) }),
            // Signing rounds a file up with zeros.
            wanted.count <= bytes.count, bytes[wanted.count...].allSatisfy({ $0 == 0 }),
            bytes.count - wanted.count < (isSigned ? 8 : 1)
        else { return [0..<file.byteCount] }
        bytes.removeSubrange(wanted.count...)
        firmware?.mend(&bytes)
        var found: [Range<Int>] = []
        for offset in wanted.indices where wanted[offset] != bytes[offset] {
            if let last = found.last, last.upperBound == offset {
                found[found.count - 1] = last.lowerBound..<offset + 1
            } else {
                found.append(offset..<offset + 1)
            }
        }
        return found
    }

    /// Everything but the encoding. The stream must not be longer than the old one.
    private func replacing(stream: [UInt8]) throws(ImageError) -> [UInt8] {
        let old = file.bytes
        let lengths = try decompressorLengths()
        var new = unsafe old.withUnsafeBytes { unsafe Array($0) }
        var next = payload.lowerBound
        func write(_ bytes: [UInt8]) {
            new.replaceSubrange(next..<next + bytes.count, with: bytes)
            next += bytes.count
        }
        func write(_ value: UInt32, at offset: Int) {
            for i in 0..<4 { new[offset + i] = UInt8(truncatingIfNeeded: value >> UInt32(8 * i)) }
        }
        write(stream)
        if codec.sizeTrailer > 0 {
            write(UInt32(decodedSize), at: next)
            next += codec.sizeTrailer
        }
        let length = next - payload.lowerBound
        write([UInt8](repeating: 0, count: payload.upperBound - next))
        write(UInt32(length), at: 0x24c)
        write(UInt32(length), at: lengths)
        write(try initSize(shorterBy: payload.count - length), at: 0x260)
        if let certificates = firmware?.certificates { new.removeSubrange(certificates) }
        firmware?.mend(&new)
        if checksum(of: old) == 0 {
            let checksum = checksum(of: unsafe new.span.bytes.extracting(droppingLast: 4))
            write(checksum, at: new.count - 4)
        }
        return new
    }

    /// Where the decompressor keeps `input_len`, and `output_len` behind it.
    private func decompressorLengths() throws(ImageError) -> Int {
        let bytes = file.bytes
        var found: [Int] = []
        for offset in stride(from: payload.upperBound, through: bytes.byteCount - 8, by: 1)
        where bytes.load(offset, as: UInt32.self) == UInt32(payload.count)
            && bytes.load(offset + 4, as: UInt32.self) == UInt32(decodedSize)
        { found.append(offset) }
        guard let only = found.first, found.count == 1 else {
            throw ImageError(
                .unsuitable, file: file.path, offset: UInt64(payload.upperBound),
                "the decompressor has its payload's two lengths in \(found.count) places behind it, where one is expected"
            )
        }
        return only
    }

    /// `init_size` for a payload that ends earlier. The margin of the build is a constant and 1/256 of the decoded size,
    /// which is what LZ4 needs, whose streams do not end earlier; header.S reckons 1/4096 and less for the others.
    private func initSize(shorterBy bytes: Int) throws(ImageError) -> UInt32 {
        let spare = codec == .lz4 ? 4 : decodedSize >> 8 - decodedSize >> 12
        let missing = (bytes - spare).roundedUp(to: 4096) ?? 0
        guard header.initSize > 0, missing > 0 else { return file.bytes.load(0x260, as: UInt32.self) }
        let (grown, overflow) = header.initSize.addingReportingOverflow(UInt32(missing))
        if overflow || firmware.map({ $0.imageSize >= header.initSize }) ?? false {
            throw ImageError(
                .unsuitable, file: file.path, offset: 0x260,
                "the new payload is \(bytes) bytes shorter, which leaves too little room to decode it in place")
        }
        return grown
    }

    /// The CRC-32 of the boot protocol, without the last inversion: 0 for a whole file that ends with it.
    private func checksum(of bytes: RawSpan) -> UInt32 {
        unsafe bytes.withUnsafeBytes { buffer in
            let start = unsafe buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
            return ~UInt32(truncatingIfNeeded: unsafe crc32_z(0, start, buffer.count))
        }
    }
}
