// SPDX-License-Identifier: MIT

// Text on the serial port, where QEMU's -nographic shows it. Nothing is allocated.

enum Console {
    static func write(_ text: StaticString) {
        for i in 0..<text.utf8CodeUnitCount { put(unsafe text.utf8Start[i]) }
    }

    static func write(_ number: Int) {
        if number > 9 { write(number / 10) }
        put(digit(number % 10))
    }

    static func write(hex number: UInt64) {
        write("0x")
        for shift in stride(from: 60, through: 0, by: -4) { put(digit(Int(number >> UInt64(shift) & 0xf))) }
    }

    private static func digit(_ value: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: value < 10 ? 48 + value : 87 + value)
    }
}
