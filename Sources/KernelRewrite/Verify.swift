// SPDX-License-Identifier: MIT

// The proof that a permuted image shows the same bytes at every virtual address
// but for the listed changes. It takes nothing from the plan that made the image
// except what stands in the file: the plan is made again from the original, with
// the order that the image's table gives, and each page is followed as the
// machine will:
//
//     page -> page tables in the image -> frame -> p_paddr -> file offset -> bytes
//
// A virtual address in a program header proves nothing and is not read.

import Addressing
import Glibc
public import KernelImage
import PagePermutation

/// What a proof found.
public struct Verification: Sendable {
    public internal(set) var pages = 0
    public internal(set) var moved = 0
    /// Bytes compared, in memory and in the rest of the file.
    public internal(set) var bytesCompared = 0
    public internal(set) var changes = 0
    /// Whether pins were left out that only code shows: the image is what was asked for, and not safe to use.
    public internal(set) var leavesOutTranslated = false
    /// What is wrong; empty when the image is proved.
    public internal(set) var findings: [String] = []

    public var passed: Bool { findings.isEmpty }
}

extension PermutedImage {
    /// Proves this image against its original.
    ///
    /// - Parameter translations: the original's, for an image in which they ask a table.
    /// - Throws: `RewriteError` when either file cannot be read as what it should be.
    public func verify(
        against original: borrowing KernelImage, rewriting translations: Translations? = nil
    ) throws(RewriteError) -> Verification {
        var result = Verification()
        let request = try manifest.request(file: image.path)
        let plan: RewritePlan
        do {
            plan = try RewritePlan.replay(original, request, forward: table.forward, rewriting: translations)
        } catch .permutation(let error) {
            result.findings.append("the order breaks what the kernel demands: \(error)")
            return result
        }
        guard table == plan.table else {
            result.findings.append(
                "the table is anchored at \(table.virtualBase), \(table.physicalBase), "
                    + "the original at \(plan.table.virtualBase), \(plan.table.physicalBase)")
            return result
        }
        result.moved = plan.movedPages
        result.leavesOutTranslated = request.leavesOutTranslated
        result.changes = plan.changes.count
        try compareMemory(plan, original, &result)
        compareBehind(plan, &result)
        try compareRest(plan, original, &result)
        return result
    }

    /// Every page of the image, through the page tables.
    private func compareMemory(
        _ plan: RewritePlan, _ original: borrowing KernelImage, _ result: inout Verification
    ) throws(RewriteError) {
        let map = plan.analysis.map
        let memory = try PhysicalMemory(segments: image.segments, file: image.path)
        let mine = image.file.bytes
        let theirs = original.file.bytes
        var patched: [Int: [Change]] = [:]
        for change in plan.changes {
            guard let address = change.address else { continue }
            for page in map.pages(of: address..<address + UInt64(change.after.count)) {
                patched[page, default: []].append(change)
            }
        }
        for page in 0..<map.pageCount {
            let entry = map.entries[page]
            let address = map.virtualBase + UInt64(page * pageSize)
            let expected = map.physicalBase + UInt64(Int(table.forward[page]) * pageSize)
            guard plan.analysis.architecture.walk(plan.analysis, address, memory, mine) == expected else {
                result.findings.append(
                    "page \(page) (\(address)): the page tables lead elsewhere than the table, which says \(expected)")
                continue
            }
            if entry.isGap { continue }
            guard let frame = memory.frame(at: expected) else {
                result.findings.append("page \(page) (\(address)): nothing is loaded at \(expected)")
                continue
            }
            result.pages += 1
            result.bytesCompared += pageSize
            var same =
                frame.fileBytes == entry.fileBytes && patched[page] == nil
                ? mine.equals(frame.fileOffset, theirs, entry.fileOffset, count: entry.fileBytes)
                : false
            if !same {
                var wanted = map.contents(of: page, in: original)
                for change in patched[page] ?? [] {
                    for (i, byte) in change.after.enumerated() {
                        let at = change.fileOffset + i - entry.fileOffset
                        if at >= 0, at < pageSize { wanted[at] = byte }
                    }
                }
                same =
                    unsafe mine.equals(frame.fileOffset, wanted.span.bytes, 0, count: frame.fileBytes)
                    && wanted[frame.fileBytes...].allSatisfy { $0 == 0 }
            }
            if !same { result.findings.append("page \(page) (\(address)): the bytes at \(expected) differ") }
        }
    }

    /// What lies behind the image: page tables, table, status.
    private func compareBehind(_ plan: RewritePlan, _ result: inout Verification) {
        let wanted = plan.baked.contents
        let segment = image.segments.first {
            $0.type == Segment.load && $0.physicalAddress == plan.baked.physicalAddress
        }
        guard let segment, segment.fileSize == UInt64(wanted.count), segment.memorySize == segment.fileSize,
            unsafe image.file.bytes.equals(Int(segment.offset), wanted.span.bytes, 0, count: wanted.count)
        else {
            result.findings.append(
                "the page tables and the table behind the image, at "
                    + "\(plan.baked.physicalAddress), are not what the permutation asks for")
            return
        }
        result.bytesCompared += wanted.count
    }

    /// Bytes of the file that no page shows: headers, symbols, debug sections.
    private func compareRest(
        _ plan: RewritePlan, _ original: borrowing KernelImage, _ result: inout Verification
    ) throws(RewriteError) {
        let size = original.file.byteCount
        guard note.originalBytes == UInt64(size) else {
            result.findings.append("the original had \(note.originalBytes) bytes, this one has \(size)")
            return
        }
        let layout = try OutputLayout(plan, original, tool: manifest.tool)
        let covered =
            plan.analysis.map.entries.filter { $0.fileBytes > 0 }
            .map { $0.fileOffset..<$0.fileOffset + $0.fileBytes }
            + layout.displaced.map { $0.offset..<$0.offset + $0.bytes.count }
            + [0..<layout.header.after.count]
        var at = 0
        for range in covered.sorted(by: { $0.lowerBound < $1.lowerBound }) + [size..<size] {
            if at < range.lowerBound {
                let count = range.lowerBound - at
                result.bytesCompared += count
                if !image.file.bytes.equals(at, original.file.bytes, at, count: count) {
                    result.findings.append("bytes \(at.hex)…\(range.lowerBound.hex) of the file differ")
                }
            }
            at = max(at, range.upperBound)
        }
        let header = layout.header.after
        if unsafe !image.file.bytes.equals(0, header.span.bytes, 0, count: header.count) {
            result.findings.append("the ELF header is not the one the permutation asks for")
        }
        compareAppendix(layout, from: size, &result)
    }
}

extension PermutedImage {
    /// What kperm put behind the original, byte by byte: a manifest that lies would not give the original back.
    private func compareAppendix(_ layout: OutputLayout, from end: Int, _ result: inout Verification) {
        let wanted = [UInt8](repeating: 0, count: layout.appendixOffset - end) + layout.appendix.joined()
        guard image.file.byteCount == layout.fileSize else {
            result.findings.append(
                "the file has \(image.file.byteCount) bytes, the permutation asks for \(layout.fileSize)")
            return
        }
        result.bytesCompared += wanted.count
        if let wrong = wanted.indices.first(where: { image.file.bytes.load(end + $0, as: UInt8.self) != wanted[$0] }) {
            result.findings.append(
                "byte \((end + wrong).hex) of the file differs: the program headers, the note or the manifest are not "
                    + "what the permutation asks for")
        }
    }
}

extension RawSpan {
    /// Whether `count` bytes from `offset` are those of `other` from `place`; false when they lie outside.
    func equals(_ offset: Int, _ other: RawSpan, _ place: Int, count: Int) -> Bool {
        if count == 0 { return true }
        guard offset >= 0, place >= 0, count > 0, offset + count <= byteCount, place + count <= other.byteCount else {
            return false
        }
        let mine = extracting(offset..<offset + count)
        let theirs = other.extracting(place..<place + count)
        return unsafe mine.withUnsafeBytes { a in
            unsafe theirs.withUnsafeBytes { b in
                guard let a = a.baseAddress, let b = b.baseAddress else { return false }
                return unsafe memcmp(a, b, count) == 0
            }
        }
    }
}
