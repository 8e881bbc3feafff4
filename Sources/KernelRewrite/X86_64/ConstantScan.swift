// SPDX-License-Identifier: MIT

// Two constants that betray a physical address, found in one pass over the text
// without decoding it: planning must not cost more than copying the file does.
// The pass compares two bytes of each constant (the upper two of the second) at
// 64 places at a time; few blocks hold them, and only those are looked at place
// by place.

import KernelImage

/// Places in code where a constant of interest stands, in bytes from its start, ascending.
struct ConstantScan {
    /// `movabs` with a value of 32 bits: REX.W (0x48 or 0x49), B8+r, then eight bytes of which the last four are zero.
    private(set) var shortMovabs: [Int] = []
    /// The 32-bit constant 0x80000000.
    private(set) var halves: [Int] = []

    private typealias Words = SIMD8<UInt16>

    init(_ code: RawSpan) {
        unsafe code.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress else { return }
            @inline(__always) func isAny(_ hits: Words) -> Bool {
                let halves = unsafe unsafeBitCast(hits, to: SIMD2<UInt64>.self)
                return halves[0] | halves[1] != 0
            }
            var at = 0
            while at + 73 <= buffer.count {
                var (movabs, half) = (Words(), Words())
                /// Eight pairs of bytes. Called eight times: a loop here costs as much as the comparing.
                @inline(__always) func compare(_ place: Int) {
                    let words = unsafe start.loadUnaligned(fromByteOffset: place, as: Words.self)
                    let isStart = (words & Words(repeating: 0xf8fe)) .== Words(repeating: 0xb848)
                    movabs |= unsafe unsafeBitCast(isStart, to: Words.self)
                    half |= unsafe unsafeBitCast(words .== Words(repeating: 0x8000), to: Words.self)
                }
                compare(at)
                compare(at &+ 1)
                compare(at &+ 16)
                compare(at &+ 17)
                compare(at &+ 32)
                compare(at &+ 33)
                compare(at &+ 48)
                compare(at &+ 49)
                if isAny(movabs | half) {
                    if isAny(movabs) { unsafe addMovabs(start, at..<at + 64) }
                    if isAny(half) { unsafe addHalves(start, max(0, at - 2)..<at + 62) }
                }
                at += 64
            }
            unsafe addMovabs(start, at..<max(at, buffer.count - 9))
            let rest = max(0, at - 2)
            unsafe addHalves(start, rest..<max(rest, buffer.count - 3))
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
