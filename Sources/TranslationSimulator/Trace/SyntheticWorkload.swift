// SPDX-License-Identifier: MIT

// A made-up kernel at work, for tests and measurements: no figure of it says
// anything about a real kernel. Its shape is a kernel's: system calls that run
// the same paths through text most of the time, straight code with calls, data
// that is mostly the stack, the image's and the task's hot objects, and now and
// then anything of the linear map or of user memory.

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

    private static func hash(_ number: UInt64, below count: Int) -> UInt64 {
        var z = number &* 0x9e37_79b9_7f4a_7c15
        z = (z ^ z >> 29) &* 0xbf58_476d_1ce4_e5b9
        return (z ^ z >> 32) % UInt64(count)
    }

    /// Writes about so many references, fewer by those that a trace leaves out, and the end.
    public mutating func write(_ references: Int, to writer: inout TraceWriter) throws(TraceError) {
        let text = Self.virtualBase.rawValue
        let textLines = pageCount / 2 * 64
        let data = text + UInt64(pageCount / 2) << 12
        let dataLines = (pageCount - pageCount / 2) * 64
        let linear: UInt64 = 0xffff_8880_0000_0000
        var written = 0
        var task: UInt64 = 0
        while written < references {
            if next() & 31 == 0 { task = UInt64(skewed(64)) }
            try writer.event(.systemCall)
            let stack = 0xffff_c900_0000_0000 + task << 14
            // A system call runs the same functions each time, but for one in sixteen.
            let path = UInt64(skewed(64))
            for step in 0..<(8 + Self.hash(path, below: 56)) {
                let usual = Self.hash(path << 8 | step, below: 1024)
                let function = next() & 15 == 0 ? UInt64(skewed(1 << 14)) : usual
                let start = text + Self.hash(function, below: textLines) << 6
                let lines = 1 + Self.hash(~function, below: 12)
                for line in 0..<min(lines, (data - start) >> 6) {
                    // A line does the same each time, but for one access in eight.
                    let habit = Self.hash(function << 4 | line, below: 1 << 30)
                    try writer.fetch(VirtualAddress(start + line << 6), instructions: 6 + habit & 7)
                    written += 1
                    for access in 0..<(habit >> 3 & 3) {
                        let isUsual = next() & 7 != 0
                        let choice = isUsual ? Self.hash(habit + access, below: 1 << 30) : next()
                        let address: UInt64
                        switch choice & 31 {
                        case 0..<16: address = stack + 0x3000 + choice >> 5 & 0x3c0
                        case 16..<22:
                            let object = (function & 63) << 1 | choice >> 5 & 1
                            address = data + Self.hash(object, below: dataLines) << 6
                        case 22..<28:
                            let object = task << 16 | (function & 15) << 2 | choice >> 5 & 3
                            address = linear + Self.hash(object, below: linearPages * 64) << 6
                        case 28: address = linear + Self.hash(next(), below: linearPages * 64) << 6
                        default: address = 0x7000_0000_0000 + task << 32 + UInt64(skewed(1 << 10)) << 6
                        }
                        if choice >> 12 & 3 == 0 {
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
