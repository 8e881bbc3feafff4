// SPDX-License-Identifier: MIT

// Bytes that a kernel or a loader reads are laid down one after the other or
// filled in afterwards: numbers in little-endian order, and padding of zeros.

extension [UInt8] {
    mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
        unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
    }

    mutating func store<T: FixedWidthInteger>(littleEndian value: T, at offset: Int) {
        for i in 0..<T.bitWidth / 8 { self[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * i)) }
    }

    mutating func pad(to size: Int) {
        append(contentsOf: repeatElement(0, count: (size - count % size) % size))
    }
}
