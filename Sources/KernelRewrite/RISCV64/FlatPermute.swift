// SPDX-License-Identifier: MIT

// Writing an order into a flat image, or the wish for one at every boot; proving
// that nothing else changed; and taking it back.

import Addressing
public import PagePermutation

extension FlatImage {
    /// The image with its pages in an order, and the tables that say so.
    public func baked(_ permutation: Permutation, crossClass: Bool) throws(RewriteError) -> [UInt8] {
        try requireLinear()
        let size =
            crossClass ? pageCount * pageSize : max(storedBytes, (bytes.count + pageSize - 1) / pageSize * pageSize)
        let padded = bytes + [UInt8](repeating: 0, count: size - bytes.count)
        var out = padded
        for (page, frame) in permutation.forward.enumerated() where frame != page && page * pageSize < padded.count {
            let frame = Int(frame)
            guard (frame + 1) * pageSize <= out.count else {
                throw .permutation(.leavesClass(page: page, frame: frame))
            }
            out.replaceSubrange(
                bytesOf(frame), with: padded[bytesOf(page)])
        }
        for (table, order) in [(forwardTable, permutation.forward), (inverseTable, permutation.inverse)] {
            for (from, to) in order.enumerated() {
                out.store(littleEndian: Int32((Int(to) - from) * pageSize), at: table + 4 * from)
            }
        }
        let moved = permutation.forward.enumerated().count { $0.offset != $0.element }
        mark(&out, .baked, crossClass: crossClass, moved: moved)
        return out
    }

    /// The image that draws an order at every boot.
    public func drawingAtBoot(crossClass: Bool) throws(RewriteError) -> [UInt8] {
        try requireLinear()
        var out = bytes
        mark(&out, .drawnAtBoot, crossClass: crossClass, moved: 0)
        return out
    }

    /// The image as it was before kperm wrote to it, bit for bit.
    public func restored() throws(RewriteError) -> [UInt8] {
        guard mode != .linear, originalBytes > 0 else {
            throw .unsupported(file: path, "kperm did not permute this image: nothing to restore")
        }
        let permutation = try permutation()
        var out = bytes
        for (page, frame) in permutation.forward.enumerated() where frame != page && page * pageSize < bytes.count {
            let frame = Int(frame)
            guard (max(page, frame) + 1) * pageSize <= bytes.count else {
                throw .unsupported(file: path, "damaged: cut off at \(bytes.count) bytes, within its pages")
            }
            out.replaceSubrange(
                bytesOf(page), with: bytes[bytesOf(frame)])
        }
        for table in [forwardTable, inverseTable] {
            out.replaceSubrange(table..<table + 4 * capacity, with: repeatElement(0, count: 4 * capacity))
        }
        out.replaceSubrange(
            descriptor + Field.mode..<descriptor + Field.moved + 4, with: repeatElement(0, count: 12))
        out.store(littleEndian: UInt32(0), at: descriptor + Field.original)
        guard originalBytes <= out.count, out[originalBytes...].allSatisfy({ $0 == 0 }) else {
            throw .unsupported(file: path, "damaged: there is something behind the original's \(originalBytes) bytes")
        }
        return Array(out[..<originalBytes])
    }

    /// Follows each page through the tables of this image to its bytes, which have to be the original's, but for the
    /// tables and what the descriptor says of them.
    public func verify(against original: FlatImage) throws(RewriteError) -> Verification {
        try original.requireLinear()
        var findings: [String] = []
        guard mode != .linear else {
            throw .unsupported(file: path, "not permuted: nothing to verify")
        }
        guard descriptor == original.descriptor, pageCount == original.pageCount, classes == original.classes,
            pins == original.pins, forwardTable == original.forwardTable, inverseTable == original.inverseTable,
            capacity == original.capacity, storedBytes == original.storedBytes
        else {
            return refuted(["the descriptors say different things: not permuted from this original"])
        }
        if originalBytes != original.bytes.count {
            findings.append("the original had \(originalBytes) bytes, this one has \(original.bytes.count)")
        }
        let order: Permutation
        do {
            order = try permutation()
        } catch {
            return refuted(["\(error)"])
        }
        let changed = [
            descriptor + Field.mode..<descriptor + Field.moved + 4, descriptor + Field.original..<descriptor + 0x64,
            forwardTable..<forwardTable + 4 * capacity, inverseTable..<inverseTable + 4 * capacity,
        ]
        for page in 0..<pageCount {
            let frame = Int(order.forward[page])
            for byte in 0..<pageSize {
                let here = page * pageSize + byte
                let there = frame * pageSize + byte
                let before = here < original.bytes.count ? original.bytes[here] : 0
                let after = there < bytes.count ? bytes[there] : 0
                if before != after, !changed.contains(where: { $0.contains(here) }) {
                    findings.append(
                        "page \(page): byte \(byte) of frame \(frame) is \(after), in the original \(before)")
                    break
                }
            }
        }
        let moved = order.forward.enumerated().count { $0.offset != $0.element }
        if moved != bytes.word(descriptor + Field.moved) {
            findings.append("\(moved) pages moved, but the descriptor says \(bytes.word(descriptor + Field.moved))")
        }
        var result = refuted(findings)
        result.moved = moved
        result.changes = changed.count
        result.bytesCompared = pageCount * pageSize
        return result
    }

    private func refuted(_ findings: [String]) -> Verification {
        var result = Verification()
        result.pages = pageCount
        result.findings = findings
        return result
    }

    private func bytesOf(_ page: Int) -> Range<Int> { page * pageSize..<(page + 1) * pageSize }

    private func requireLinear() throws(RewriteError) {
        guard mode == .linear else {
            throw .unsupported(file: path, "already permuted; kperm restore gives the original back")
        }
    }

    private func mark(_ out: inout [UInt8], _ mode: Mode, crossClass: Bool, moved: Int) {
        out.store(littleEndian: mode.rawValue, at: descriptor + Field.mode)
        out.store(littleEndian: crossClass ? Self.crossClass : 0, at: descriptor + Field.flags)
        out.store(littleEndian: UInt32(moved), at: descriptor + Field.moved)
        out.store(littleEndian: UInt32(bytes.count), at: descriptor + Field.original)
    }
}
