// SPDX-License-Identifier: MIT

// A trace and a translation table that are used together have to be of the same
// kernel: by its build id where both say it, else by the image's size and place.

import Addressing
import KernelImage
import KernelRewrite
import PagePermutation
import TranslationSimulator

/// The table in a file (a permuted image, or its table in any form), if it is for the kernel of a trace.
func translationTable(_ path: String, fitting trace: String, _ header: TraceHeader) throws -> TranslationTable {
    func other(_ offset: Int, _ what: String) -> CommandFailure {
        .input("\(TraceError(trace, at: offset, what))")
    }
    let found: TranslationTable
    if let file = try tableFile(path) {
        found = file
    } else {
        if try isCompressed(path) { throw liveTableOnly(path) }
        let permuted = try attempt { () throws(RewriteError) in try PermutedImage.open(path) }
        found = permuted.table
        if let note = permuted.image.notes().first(where: { $0.owner == "GNU" && $0.type == 3 }),
            !header.buildID.isEmpty
        {
            let bytes = permuted.image.file.bytes
            var id = note.descriptor.map { bytes.load($0, as: UInt8.self) }
            while id.last == 0 { id.removeLast() }
            guard id == header.buildID else {
                throw other(
                    48,
                    "build id \(hex(header.buildID)): recorded from another kernel than \(path), whose build id is "
                        + hex(id))
            }
        }
    }
    let physical = found.physicalBase.rawValue
    guard physical % UInt64(pageSize) == 0, physical >> 51 == 0 else {
        throw CommandFailure.input("\(path): damaged: its image would begin at \(found.physicalBase)")
    }
    guard found.pageCount == header.pageCount else {
        throw other(
            24,
            "its image has \(header.pageCount) pages, and the table in \(path) has \(found.pageCount): recorded from "
                + "another kernel")
    }
    guard (found.virtualBase.rawValue ^ header.virtualBase.rawValue) & (1 << 21 - 1) == 0 else {
        throw other(
            16,
            "its image is at \(header.virtualBase), and the table in \(path) is for \(found.virtualBase): KASLR moves in "
                + "steps of 2M, so it was recorded from another kernel")
    }
    return found
}

private func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
