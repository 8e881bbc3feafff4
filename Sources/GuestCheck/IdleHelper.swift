// SPDX-License-Identifier: MIT

// The first and only program of a riscv64 guest that nobody gave one: it says that
// it is there, and waits. A page of ELF, put together here.

enum IdleHelper {
    private static let address: UInt64 = 0x1_0000
    private static let headers = 64 + 56
    private static let text = Exercise.mark + "done\n"

    private static var code: [UInt32] {
        [
            0x0400_0893,  // li a7, 64 (write)
            0x0010_0513,  // li a0, 1
            0x0000_0597,  // auipc a1, 0
            0x0305_8593,  // addi a1, a1, 48: the text, behind 14 instructions
            UInt32(text.utf8.count) << 20 | 0x613,  // li a2, its length
            0x0000_0073,  // ecall
            0x0490_0893,  // li a7, 73 (ppoll)
            0x0000_0513,  // li a0, 0
            0x0000_0593,  // li a1, 0
            0x0000_0613,  // li a2, 0
            0x0000_0693,  // li a3, 0
            0x0000_0073,  // ecall
            0xfe9f_f06f,  // j -24
            0x0000_0013,  // nop
        ]
    }

    /// The program.
    static var bytes: [UInt8] {
        var out: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        func put<T: FixedWidthInteger>(_ values: T...) {
            for value in values {
                for byte in 0..<T.bitWidth / 8 { out.append(UInt8(truncatingIfNeeded: value >> T(8 * byte))) }
            }
        }
        let size = UInt64(headers + 4 * code.count + text.utf8.count)
        put(UInt16(2), 243)  // executable, RISC-V
        put(UInt32(1))
        put(address + UInt64(headers), 64, 0)
        put(UInt32(0))
        put(UInt16(64), 56, 1, 0, 0, 0)
        put(UInt32(1), 5)  // loaded, read and executed
        put(UInt64(0), address, address, size, size, 0x1000)
        for instruction in code { put(instruction) }
        return out + Array(text.utf8)
    }
}
