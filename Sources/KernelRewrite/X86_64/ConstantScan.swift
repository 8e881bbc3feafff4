// SPDX-License-Identifier: MIT

// Two constants that betray a physical address, found in one pass over the text
// without decoding it: planning must not cost more than copying the file does.
// The pass compares two bytes of each constant at 64 places at a time; few
// blocks hold both, and only those are looked at place by place.

import KernelImage

/// Places in code where a constant of interest stands, in bytes from its start, ascending.
struct ConstantScan {
    /// `movabs` with a value of 32 bits: REX.W (0x48 or 0x49), B8+r, then eight bytes of which the last four are zero.
    private(set) var shortMovabs: [Int] = []
    /// The 32-bit constant 0x80000000.
    private(set) var halves: [Int] = []

    private typealias Bytes = SIMD16<UInt8>

    init(_ code: RawSpan) {
        unsafe code.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress else { return }
            /// All ones in each byte that is the value, but for the bits outside the mask.
            @inline(__always) func fits(_ offset: Int, _ value: UInt8, mask: UInt8 = 0xff) -> SIMD2<UInt64> {
                let bytes = unsafe start.loadUnaligned(fromByteOffset: offset, as: Bytes.self)
                return unsafe unsafeBitCast(
                    bytes & Bytes(repeating: mask) .== Bytes(repeating: value), to: SIMD2<UInt64>.self)
            }
            @inline(__always) func isAny(_ hits: SIMD2<UInt64>) -> Bool { hits[0] | hits[1] != 0 }
            var at = 0
            while at + 73 <= buffer.count {
                var (movabs, half) = (SIMD2<UInt64>(), SIMD2<UInt64>())
                /// Called four times: a loop here costs as much as the comparing.
                @inline(__always) func compare(_ place: Int) {
                    movabs |= fits(place, 0x48, mask: 0xfe) & fits(place &+ 1, 0xb8, mask: 0xf8)
                    half |= fits(place &+ 2, 0) & fits(place &+ 3, 0x80)
                }
                compare(at)
                compare(at &+ 16)
                compare(at &+ 32)
                compare(at &+ 48)
                if isAny(movabs | half) {
                    if isAny(movabs) { unsafe addMovabs(start, at..<at + 64) }
                    if isAny(half) { unsafe addHalves(start, at..<at + 64) }
                }
                at += 64
            }
            unsafe addMovabs(start, at..<max(at, buffer.count - 9))
            unsafe addHalves(start, at..<max(at, buffer.count - 3))
        }
    }

    private mutating func addMovabs(_ code: UnsafeRawPointer, _ places: Range<Int>) {
        for place in places
        where unsafe code.loadUnaligned(fromByteOffset: place, as: UInt16.self) & 0xf8fe == 0xb848 {
            if unsafe code.loadUnaligned(fromByteOffset: place + 6, as: UInt32.self) == 0 { shortMovabs.append(place) }
        }
    }

    private mutating func addHalves(_ code: UnsafeRawPointer, _ places: Range<Int>) {
        for place in places
        where unsafe code.loadUnaligned(fromByteOffset: place, as: UInt32.self) == 0x8000_0000 { halves.append(place) }
    }
}
