// SPDX-License-Identifier: MIT

// The pass that looks at 64 places at a time against one that looks at each: constants at every alignment, across the
// borders of blocks and up to the last byte.

import KernelImage
import Testing

@testable import KernelRewrite

struct ConstantScanTests {
    private static let constants: [[UInt8]] = [
        [0x48, 0xb8, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0], [0x49, 0xbf, 1, 0, 0, 0, 0, 0, 0, 0],
        [0x48, 0xb9, 0, 0, 0, 0x80, 0, 0, 0, 0],
        // Nearly: another prefix, another operation, 33 bits.
        [0x4a, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0], [0x48, 0xc0, 1, 0, 0, 0, 0, 0, 0, 0],
        [0x48, 0xb8, 1, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0x80], [0, 0, 1, 0x80], [0, 1, 0, 0x80], [0, 0, 0, 0x80, 0, 0, 0, 0x80],
    ]

    /// Whether both find the same.
    private func isSame(_ code: [UInt8]) -> Bool {
        func isZero(_ range: Range<Int>) -> Bool { code[range].allSatisfy { $0 == 0 } }
        let movabs = code.indices.filter {
            $0 + 10 <= code.count && code[$0] & 0xfe == 0x48 && code[$0 + 1] & 0xf8 == 0xb8 && isZero($0 + 6..<$0 + 10)
        }
        let halves = code.indices.filter { $0 + 4 <= code.count && code[$0 + 3] == 0x80 && isZero($0..<$0 + 3) }
        let scan = unsafe ConstantScan(code.span.bytes)
        return scan.shortMovabs == movabs && scan.halves == halves
    }

    /// Up to the last byte, and on both sides of the borders of blocks.
    @Test(arguments: [0, 9, 10, 63, 64, 72, 73, 74, 83, 137, 150])
    func atEveryPlace(length: Int) {
        for constant in Self.constants where constant.count <= length {
            for place in 0...length - constant.count {
                var code = [UInt8](repeating: 0x90, count: length)
                code.replaceSubrange(place..<place + constant.count, with: constant)
                if !isSame(code) { Issue.record("\(constant) at \(place)") }
            }
        }
    }

    @Test(arguments: 0..<UInt64(60))
    func inNoise(number: UInt64) {
        var state = number &* 2 &+ 1
        func next(_ below: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % below
        }
        // Few different bytes, so that constants come about by chance, too.
        let letters: [UInt8] = [0, 0, 0, 0, 0x80, 0x48, 0x49, 0xb8, 0xbf, 0x90]
        var code = (0..<next(2000)).map { _ in letters[next(letters.count)] }
        for _ in 0..<next(20) {
            let constant = Self.constants[next(Self.constants.count)]
            guard constant.count <= code.count else { continue }
            let place = next(code.count - constant.count + 1)
            code.replaceSubrange(place..<place + constant.count, with: constant)
        }
        #expect(isSame(code), "case \(number)")
    }
}
