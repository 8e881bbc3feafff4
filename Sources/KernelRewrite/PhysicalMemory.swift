// SPDX-License-Identifier: MIT

// Physical memory as a loader lays it down from the program headers of an ELF
// file. Proofs read through this: they follow `p_paddr`, as the machine will,
// and never take a virtual address on trust.

import Addressing
import KernelImage

/// Where the bytes of physical memory lie in a file, by its load segments.
public struct PhysicalMemory: Sendable {
    struct Piece: Sendable {
        var range: Range<PhysicalAddress>
        var fileOffset: Int
        var fileBytes: Int
    }

    /// Ascending by address.
    let pieces: [Piece]

    /// - Throws: `RewriteError.unsupported` when load segments overlap in physical memory.
    init(segments: [Segment], file: String) throws(RewriteError) {
        pieces = segments.filter { $0.type == Segment.load && $0.memorySize > 0 }.map {
            Piece(
                range: $0.physicalAddress..<$0.physicalAddress + $0.memorySize,
                fileOffset: $0.fileSize > 0 ? Int($0.offset) : 0,
                fileBytes: Int($0.fileSize))
        }.sorted { $0.range.lowerBound < $1.range.lowerBound }
        for (low, high) in zip(pieces, pieces.dropFirst()) where low.range.upperBound > high.range.lowerBound {
            throw .unsupported(file: file, "load segments overlap at physical address \(high.range.lowerBound)")
        }
    }

    /// Where the last segment begins.
    var last: PhysicalAddress? { pieces.last?.range.lowerBound }

    /// Where the page-aligned frame at `address` lies in the file, and how many of its 4096 bytes are there (the
    /// rest is zero); nil when no one segment loads the frame.
    func frame(at address: PhysicalAddress) -> (fileOffset: Int, fileBytes: Int)? {
        var low = 0
        var high = pieces.count
        while low < high {
            let middle = (low + high) / 2
            if pieces[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        guard low < pieces.count, pieces[low].range.contains(address) else { return nil }
        let piece = pieces[low]
        let offset = Int(address - piece.range.lowerBound)
        return (piece.fileOffset + offset, max(0, min(pageSize, piece.fileBytes - offset)))
    }

    /// The little-endian 64-bit word at an aligned physical address; nil where nothing is loaded.
    func word(at address: PhysicalAddress, in file: RawSpan) -> UInt64? {
        let start = PhysicalAddress(address.rawValue & ~UInt64(pageSize - 1))
        guard let frame = frame(at: start) else { return nil }
        let offset = address.offsetInPage
        return offset + 8 <= frame.fileBytes ? file.load(frame.fileOffset + offset, as: UInt64.self) : 0
    }
}
