// SPDX-License-Identifier: MIT

// Where everything lies in a permuted file: the original stays where it was, and
// all that is new comes behind it.
//
//     original file (patched) | memory behind the image | note | program headers | manifest
//
// `segments`: one load segment for each run of pages whose frames count on,
// pointing at bytes that did not move. `contents`: the original's segments, with
// the bytes of each frame where that frame's own page used to lie; where a
// partial page of a segment receives a whole one, the bytes it covers are kept in
// the manifest, and the section headers, which would no longer be true, go.

import Addressing
import KernelImage
import PagePermutation

struct OutputLayout {
    /// Program headers of the permuted file.
    var segments: [Segment] = []
    /// What comes behind the original, from `appendixOffset` on, piece after piece.
    var appendix: [[UInt8]] = []
    let appendixOffset: Int
    /// The change of the ELF header.
    var header: Change
    /// Pages whose bytes go to another place in the file, ascending by place: `contents` only.
    var moves: [(fileOffset: Int, page: Int)] = []
    /// Bytes behind a segment that moves cover.
    var displaced: [(offset: Int, bytes: [UInt8])] = []

    var fileSize: Int { appendix.reduce(appendixOffset) { $0 + $1.count } }

    init(_ plan: RewritePlan, _ image: borrowing KernelImage, tool: String) throws(RewriteError) {
        let original = image.file.byteCount
        guard let start = original.roundedUp(to: pageSize) else {
            throw .unsupported(file: image.path, "the file is too large")
        }
        appendixOffset = start
        let behind = Segment(
            type: Segment.load, flags: 6, offset: UInt64(start), virtualAddress: plan.baked.virtualAddress,
            physicalAddress: plan.baked.physicalAddress, fileSize: UInt64(plan.baked.contents.count),
            memorySize: UInt64(plan.baked.contents.count), alignment: UInt64(pageSize))
        header = Change(fileOffset: 0, address: nil, before: [], after: [], reason: "", evidence: "")

        switch plan.request.encoding {
        case .segments: segments = Self.runs(plan, image)
        case .contents:
            segments = image.segments
            try moveContents(plan, image)
        }
        let noteOffset = start + plan.baked.contents.count
        let noteBytes = 72
        let headersOffset = noteOffset + noteBytes
        segments.append(behind)
        // Before the kernel's own notes: some loaders believe only the last note segment, and look for the PVH entry.
        segments.insert(
            Segment(
                type: Segment.note, flags: 4, offset: UInt64(noteOffset), virtualAddress: VirtualAddress(0),
                physicalAddress: PhysicalAddress(0), fileSize: 68, memorySize: 68, alignment: 4),
            at: segments.firstIndex { $0.type == Segment.note } ?? segments.endIndex)
        let headers = image.encode(segments)
        let after = try wrapping(RewriteError.image) { [segments] () throws(ImageError) in
            try image.encodedHeader(
                programHeadersAt: UInt64(headersOffset), count: segments.count,
                withoutSections: plan.request.encoding == .contents)
        }
        header = Change(
            fileOffset: 0, address: nil, before: after.indices.map { image.file.bytes.load($0, as: UInt8.self) },
            after: after, reason: "the program headers moved behind the original file", evidence: "ELF header")

        let manifestOffset = headersOffset + headers.count
        let manifest: [UInt8]
        do {
            manifest = try Manifest(plan, tool: tool, header: header, displaced: displaced).encoded()
        } catch {
            throw .output(file: image.path, "the manifest cannot be written: \(error)")
        }
        let table = UInt64(plan.baked.tableOffset)
        let note = KpermNote(
            tableOffset: UInt64(start) + table, tableBytes: UInt64(plan.table.byteCount),
            tableAddress: plan.baked.physicalAddress.rawValue + table, manifestOffset: UInt64(manifestOffset),
            manifestBytes: UInt64(manifest.count), originalBytes: UInt64(original))
        let padding = [UInt8](repeating: 0, count: noteBytes - note.bytes.count)
        appendix = [plan.baked.contents, note.bytes + padding, headers, manifest]
    }

    /// One load segment for each run of pages with consecutive frames.
    private static func runs(_ plan: RewritePlan, _ image: borrowing KernelImage) -> [Segment] {
        let map = plan.analysis.map
        let forward = plan.permutation.forward
        var out: [Segment] = []
        out.reserveCapacity(map.pageCount + image.segments.count)
        for segment in image.segments.flatMap(\.pagePieces) {
            // What shares a page with others stays with them.
            guard segment.type == Segment.load, segment.memorySize > 0, segment.physicalAddress.offsetInPage == 0 else {
                out.append(segment)
                continue
            }
            let first = Int((segment.physicalAddress - map.physicalBase) / UInt64(pageSize))
            let pages = Int((segment.memorySize + UInt64(pageSize) - 1) / UInt64(pageSize))
            func frame(_ page: Int) -> Int { page < forward.count ? Int(forward[page]) : page }
            var start = 0
            while start < pages {
                var end = start + 1
                let inFile = UInt64(start * pageSize) < segment.fileSize
                while end < pages, frame(first + end) == frame(first + end - 1) + 1,
                    inFile == (UInt64(end * pageSize) < segment.fileSize)
                {
                    end += 1
                }
                let offset = UInt64(start * pageSize)
                let memory = min(UInt64((end - start) * pageSize), segment.memorySize - offset)
                var run = segment
                run.offset = segment.offset + (inFile ? offset : 0)
                run.virtualAddress = segment.virtualAddress + offset
                run.physicalAddress = map.physicalBase + UInt64(frame(first + start) * pageSize)
                run.memorySize = memory
                run.fileSize = inFile ? min(memory, segment.fileSize - offset) : 0
                run.alignment = UInt64(pageSize)
                out.append(run)
                start = end
            }
        }
        return out
    }

    private mutating func moveContents(_ plan: RewritePlan, _ image: borrowing KernelImage) throws(RewriteError) {
        let map = plan.analysis.map
        for (frame, page) in plan.permutation.inverse.enumerated() where Int(page) != frame {
            let source = map.entries[Int(page)]
            let slot = map.entries[frame]
            if source.fileBytes == 0 && slot.fileBytes == 0 { continue }
            guard slot.fileBytes > 0 else {
                throw .unsupported(
                    file: image.path,
                    "page \(page) has bytes in the file and frame \(frame) has none: "
                        + "this image needs --encoding segments")
            }
            moves.append((slot.fileOffset, Int(page)))
            if slot.fileBytes < pageSize { try extend(slot, image) }
        }
        moves.sort { $0.fileOffset < $1.fileOffset }
    }

    /// Lets a segment's last, partial page hold a whole one.
    private mutating func extend(_ slot: PageMap.Entry, _ image: borrowing KernelImage) throws(RewriteError) {
        let covered = slot.fileOffset + slot.fileBytes..<slot.fileOffset + pageSize
        let taken = image.segments.contains {
            $0.type == Segment.load && $0.fileSize > 0 && Int($0.offset) < covered.upperBound
                && covered.lowerBound < Int($0.offset + $0.fileSize)
        }
        guard !taken else {
            throw .unsupported(
                file: image.path,
                "no room behind a segment's last page at byte \(covered.lowerBound.hex): "
                    + "this image needs --encoding segments")
        }
        let inFile = covered.clamped(to: 0..<image.file.byteCount)
        displaced.append((covered.lowerBound, inFile.map { image.file.bytes.load($0, as: UInt8.self) }))
        let end = UInt64(covered.upperBound) - segments[slot.segment].offset
        segments[slot.segment].fileSize = end
        segments[slot.segment].memorySize = max(segments[slot.segment].memorySize, end)
    }
}
