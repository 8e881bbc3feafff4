// SPDX-License-Identifier: MIT

// The filler pages of filler.S, and what each of their words must be.

struct Filler {
    let number: UInt64
    let start: UInt64
    let end: UInt64

    static var text: Filler { Filler(number: 0, start: fillerTextStart(), end: fillerTextEnd()) }
    static var rodata: Filler { Filler(number: 1, start: fillerRodataStart(), end: fillerRodataEnd()) }
    static var data: Filler { Filler(number: 2, start: fillerDataStart(), end: fillerDataEnd()) }
    static var initData: Filler { Filler(number: 3, start: fillerInitStart(), end: fillerInitEnd()) }
    static var bss: Filler { Filler(number: 4, start: fillerBssStart(), end: fillerBssEnd()) }

    var pages: Int { Int((end - start) / pageBytes) }

    /// Every word's address.
    var words: StrideTo<UInt64> { stride(from: start, to: end, by: 8) }

    /// The word that belongs at an address.
    func word(for address: UInt64) -> UInt64 {
        let index = (address - start) / 8
        let value = (number << 20 | index) &* 0x9e37_79b9_7f4a_7c15
        guard number == 0 else { return value }
        return textWord(index, value)
    }

    #if arch(riscv64)
        /// `li a0, page`, then words that change no register, and a return.
        private func textWord(_ index: UInt64, _ value: UInt64) -> UInt64 {
            switch index % 512 {
            case 0: 0x0000_0013_0000_0513 | (index / 512) << 20
            case 511: 0x0010_0073_0000_8067
            default: 0x0000_0037_0000_0037 | (value & 0xf_ffff) << 12 | (value >> 20 & 0xf_ffff) << 44
            }
        }
    #else
        /// `mov $page, %eax`, then words that change no register, and a return.
        private func textWord(_ index: UInt64, _ value: UInt64) -> UInt64 {
            switch index % 512 {
            case 0: 0x001f_0f00_0000_00b8 | (index / 512) << 8
            case 511: 0xcccc_cccc_cccc_ccc3
            default: value << 32 | 0x0084_1f0f
            }
        }
    #endif
}
