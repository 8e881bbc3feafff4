// SPDX-License-Identifier: MIT

// Room for code that stays executable for as long as the kernel runs: pages of
// padding inside text. Linux aligns parts of its text to large pages. The gap
// behind text serves only in a kernel that never takes it back, which one with a
// `mark_rodata_ro` does.

import Addressing
import KernelImage

struct TextRoom {
    let address: VirtualAddress
    let fileOffset: Int
    /// In bytes.
    let size: Int

    /// What fills it, from its beginning.
    func change(to code: [UInt8], _ reason: String, _ image: borrowing KernelImage) -> Change {
        Change(
            fileOffset: fileOffset, address: address,
            before: code.indices.map { image.file.bytes.load(fileOffset + $0, as: UInt8.self) }, after: code,
            reason: reason, evidence: "\(size) bytes of padding that no symbol covers")
    }

    /// Finds room for so many bytes, apart from the page that the boot stub takes.
    ///
    /// - Throws: `RewriteError.unsupported` when there is none.
    static func find(
        _ byteCount: Int, _ analysis: KernelAnalysis, _ image: borrowing KernelImage
    ) throws(RewriteError) -> TextRoom {
        let hooks = KernelHooks(analysis: analysis)
        let map = analysis.map
        let taken = map.page(of: try hooks.gap(image).address)
        let start = try analysis.symbols.require("_text", for: "to find room for code").address
        let end = try analysis.symbols.require("_etext", for: "to find room for code").address
        let rodata = try analysis.symbols.require("__start_rodata", for: "to find room for code").address
        let staysExecutable = analysis.symbols.all("mark_rodata_ro").isEmpty
        var run: Range<Int> = 0..<0
        for page in map.pages(of: start..<(staysExecutable ? rodata : end)) {
            guard page != taken, hooks.isFill(page, image) else { continue }
            let goesOn =
                !run.isEmpty && run.upperBound == page
                && map.entries[page].fileOffset == map.entries[page - 1].fileOffset + pageSize
            run = (goesOn ? run.lowerBound : page)..<page + 1
            if run.count * pageSize >= byteCount {
                return TextRoom(
                    address: map.virtualBase + UInt64(run.lowerBound * pageSize),
                    fileOffset: map.entries[run.lowerBound].fileOffset, size: run.count * pageSize)
            }
        }
        throw .unsupported(
            file: analysis.symbols.file, "no room for \(byteCount) bytes of code: no padding of that size inside text")
    }
}
