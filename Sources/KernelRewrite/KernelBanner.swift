// SPDX-License-Identifier: MIT

// The line by which a Linux kernel names itself: "Linux version RELEASE (…) (…) #BUILD".

import Addressing
import KernelImage

struct KernelBanner {
    /// "6.1.0-50-cloud-amd64"; nil where there is no banner.
    private(set) var release: String?
    /// "#1 SMP Debian 6.1.192-2 (2026-01-01)"; nil where there is none.
    private(set) var build: String?

    init(_ map: PageMap, _ symbols: KernelSymbols, _ image: borrowing KernelImage) {
        guard let banner = symbols.optional("linux_banner"),
            let bytes = map.bytes(at: banner.address, count: Int(clamping: min(banner.size, 512)), in: image)
        else { return }
        let text = String(decoding: bytes.prefix { $0 != 0 && $0 != 10 }, as: UTF8.self)
        let words = text.split(separator: " ")
        guard words.count > 2, words[0] == "Linux" else { return }
        release = String(words[2])
        build = text.lastIndex(of: "#").map { String(text[$0...]) }
    }
}
