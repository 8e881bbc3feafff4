// SPDX-License-Identifier: MIT

// A made-up kernel at work, for tests and measurements: no figure of it says
// anything about a real kernel. Its shape is a kernel's: system calls that run
// the same few paths through text most of the time, straight code with calls,
// data that is mostly the stack and a few hot objects, some of the linear map and
// of user memory.

public import Addressing

/// A workload, by seed.
public struct SyntheticWorkload: Sendable {
    /// Pages of the image; text is the first half, data the rest.
    public var pageCount: Int
    /// Pages of the linear map that are used.
    public var linearPages: Int
    private var state: UInt64

    public static let virtualBase = VirtualAddress(0xffff_ffff_8100_0000)

    public init(seed: UInt64, pageCount: Int = 8192, linearPages: Int = 1 << 16) {
        state = seed
        self.pageCount = pageCount
        self.linearPages = linearPages
    }

    public var header: TraceHeader {
        TraceHeader(
            virtualBase: Self.virtualBase, imageBytes: UInt64(pageCount * pageSize), workload: "synthetic")
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    /// Near 0 most of the time: the share of draws below n grows with the logarithm of n.
    private mutating func skewed(_ count: Int) -> Int {
        let bits = UInt64(64 - (count - 1).leadingZeroBitCount)
        let cut = next() % (bits + 1)
        return Int(next() & ((1 << cut) - 1)) % count
    }

    private static func spread(_ number: Int, _ count: Int) -> Int {
        Int(truncatingIfNeeded: (UInt64(number) &* 0x9e37_79b9_7f4a_7c15) >> 20) % count
    }

    /// Writes at least so many references, and the end.
    public mutating func write(_ references: Int, to writer: inout TraceWriter) throws(TraceError) {
        let base = Self.virtualBase.rawValue
        let textPages = pageCount / 2
        var written = 0
        while written < references {
            try writer.event(.systemCall)
            let stack = 0xffff_c900_0000_0000 + UInt64(skewed(64)) << 14
            for _ in 0..<(8 + skewed(64)) {
                // A function: a few lines of straight code at a fixed place.
                let function = skewed(textPages * 4)
                let start = base + UInt64(Self.spread(function, textPages * 64)) << 6
                for line in 0..<UInt64(1 + skewed(12)) {
                    try writer.fetch(VirtualAddress(start + line << 6), instructions: 6 + next() & 7)
                    written += 1
                    for _ in 0..<(next() & 3) {
                        let address: UInt64
                        switch next() & 15 {
                        case 0..<7: address = stack + 0x3000 + next() & 0x3c0
                        case 7..<11:
                            let object = Self.spread(skewed(textPages * 64), (pageCount - textPages) * 64)
                            address = base + UInt64(textPages) << 12 + UInt64(object) << 6
                        case 11..<15:
                            let object = Self.spread(skewed(linearPages * 64), linearPages * 64)
                            address = 0xffff_8880_0000_0000 + UInt64(object) << 6
                        default: address = 0x7fff_0000_0000 + UInt64(skewed(1 << 14)) << 6
                        }
                        if next() & 3 == 0 {
                            try writer.write(VirtualAddress(address))
                        } else {
                            try writer.read(VirtualAddress(address))
                        }
                        written += 1
                    }
                }
            }
        }
        try writer.finish()
    }
}
