// SPDX-License-Identifier: MIT

// Two constants that betray a physical address, found in one pass over the text
// without decoding it: planning must not cost more than copying the file does.
// The pass looks at 64 places at a time; a byte of a block of misses is zero
// only where all the bytes that are looked at fit.

import KernelImage

/// Places in code where a constant of interest stands, in bytes from its start, ascending.
struct ConstantScan {
    /// `movabs` with a value of 32 bits: REX.W (0x48 or 0x49), B8+r, then eight bytes of which the last four are zero.
    private(set) var shortMovabs: [Int] = []
    /// The 32-bit constant 0x80000000.
    private(set) var halves: [Int] = []

    private typealias Block = SIMD8<UInt64>

    init(_ code: RawSpan) {
        let ones = Block(repeating: 0x0101_0101_0101_0101)
        unsafe code.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress else { return }
            @inline(__always) func block(_ offset: Int) -> Block {
                unsafe start.loadUnaligned(fromByteOffset: offset, as: Block.self)
            }
            @inline(__always) func hits(_ misses: Block) -> Block { (misses &- ones) & ~misses & (ones &<< 7) }
            @inline(__always) func isAny(_ hits: Block) -> Bool {
                let half = hits.lowHalf | hits.highHalf
                let quarter = half.lowHalf | half.highHalf
                return quarter[0] | quarter[1] != 0
            }
            var at = 0
            while at + 73 <= buffer.count {
                // Few blocks hold the opcode of the one or the last byte of the other: most cost three loads.
                let (first, second) = (block(at), block(at + 1))
                let opcode = (first & (ones &* 0xfe)) ^ (ones &* 0x48) | (second & (ones &* 0xf8)) ^ (ones &* 0xb8)
                let last = block(at + 3) ^ (ones &<< 7)
                if isAny(hits(opcode) | hits(last)) {
                    if isAny(hits(opcode | block(at + 6) | block(at + 7) | block(at + 8) | block(at + 9))) {
                        addMovabs(code, at..<at + 64)
                    }
                    if isAny(hits(first | second | block(at + 2) | last)) { addHalves(code, at..<at + 64) }
                }
                at += 64
            }
            addMovabs(code, at..<max(at, buffer.count - 9))
            addHalves(code, at..<max(at, buffer.count - 3))
        }
    }

    private mutating func addMovabs(_ code: RawSpan, _ places: Range<Int>) {
        for place in places
        where code.load(place, as: UInt16.self) & 0xf8fe == 0xb848 && code.load(place + 6, as: UInt32.self) == 0 {
            shortMovabs.append(place)
        }
    }

    private mutating func addHalves(_ code: RawSpan, _ places: Range<Int>) {
        for place in places where code.load(place, as: UInt32.self) == 0x8000_0000 { halves.append(place) }
    }
}
