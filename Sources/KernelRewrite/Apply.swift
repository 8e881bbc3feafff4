// SPDX-License-Identifier: MIT

// Carrying out a plan, and undoing it. Both lay the output out completely, then
// copy: whole ranges inside the operating system, changed bytes from memory.

import Addressing
import Glibc
public import KernelImage
import PagePermutation

extension RewritePlan {
    /// Writes the permuted image. It holds a secret, so only its owner may read it (mode 0600).
    ///
    /// - Throws: `RewriteError.output` when the file cannot be written; nothing is left behind then.
    public func apply(to path: String, from image: borrowing KernelImage, tool: String) throws(RewriteError) {
        let layout = try OutputLayout(self, image, tool: tool)
        let output = try OutputFile.create(path, mode: 0o600, notOver: image.file)
        let isShared = layout.moves.isEmpty && output.share(image.file)
        try output.truncate(to: layout.fileSize)
        if layout.moves.isEmpty {
            if !isShared { try output.copy(0..<image.file.byteCount, of: image.file) }
        } else {
            try writeMoved(layout, output, image)
        }
        var end = layout.appendixOffset
        for piece in layout.appendix {
            try output.write(piece, at: end)
            end += piece.count
        }
        for change in [layout.header] + changes {
            try output.write(change.after, at: layout.place(of: change.fileOffset, in: self))
        }
        try output.commit()
    }

    /// Writes the original's bytes with pages in the place of the frames they go to.
    private func writeMoved(
        _ layout: OutputLayout, _ output: borrowing OutputFile, _ image: borrowing KernelImage
    ) throws(RewriteError) {
        image.file.populate(0..<image.file.byteCount)
        let map = analysis.map
        let zeros = [UInt8](repeating: 0, count: pageSize)
        var next = 0
        var at = 0
        while at < layout.moves.count {
            let start = layout.moves[at].fileOffset
            if next < start { try output.copy(next..<min(start, image.file.byteCount), of: image.file) }
            var pieces: [Range<Int>] = []
            var place = start
            while at < layout.moves.count, layout.moves[at].fileOffset == place {
                let source = map.entries[layout.moves[at].page]
                at += 1
                if source.fileBytes < pageSize {
                    try output.gather(pieces, of: image.file, at: place - pieces.count * pageSize)
                    pieces = []
                    try output.write(zeros, at: place)
                    try output.gather(
                        [source.fileOffset..<source.fileOffset + source.fileBytes], of: image.file, at: place)
                } else {
                    pieces.append(source.fileOffset..<source.fileOffset + pageSize)
                }
                place += pageSize
            }
            try output.gather(pieces, of: image.file, at: place - pieces.count * pageSize)
            next = place
        }
        if next < image.file.byteCount { try output.copy(next..<image.file.byteCount, of: image.file) }
    }
}

extension OutputLayout {
    /// Where a byte of the original file lies in the output.
    func place(of offset: Int, in plan: RewritePlan) -> Int {
        guard !moves.isEmpty else { return offset }
        let map = plan.analysis.map
        for change in plan.changes where change.fileOffset == offset {
            guard let address = change.address, let page = map.page(of: address) else { continue }
            let frame = plan.table.frame(of: Page(page)).index
            return offset - map.entries[page].fileOffset + map.entries[frame].fileOffset
        }
        return offset
    }
}
