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
        switch index % 512 {
        case 0: return 0x001f_0f00_0000_00b8 | (index / 512) << 8
        case 511: return 0xcccc_cccc_cccc_ccc3
        default: return value << 32 | 0x0084_1f0f
        }
    }
}
