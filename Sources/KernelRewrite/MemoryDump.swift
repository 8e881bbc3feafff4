// SPDX-License-Identifier: MIT

// The translation table of a running kernel, found from outside in a copy of its
// memory: no address is needed, because the table has a magic word, a checksum
// and is a bijection. A kernel has one; copies of it would be equal.

import Addressing
import CLinux
import Glibc
public import KernelImage
public import PagePermutation

/// A file that holds a machine's memory, or part of it.
public struct MemoryDump: ~Copyable {
    public let file: MappedFile

    /// - Throws: `RewriteError.image` when the file cannot be read.
    public static func open(_ path: String) throws(RewriteError) -> MemoryDump {
        try wrapping(RewriteError.image) { () throws(ImageError) in MemoryDump(file: try MappedFile.open(path)) }
    }

    /// The live translation table.
    ///
    /// - Throws: `RewriteError.unsupported` when there is none, or tables that contradict each other.
    public func table() throws(RewriteError) -> TranslationTable {
        var found: TranslationTable?
        var damaged: TableError?
        var at = 0
        while let place = next(from: at) {
            at = place + 8
            let table: TranslationTable
            do {
                table = try TranslationTable(reading: file.bytes.extracting(place..<file.byteCount))
            } catch {
                damaged = error
                continue
            }
            guard found == nil || found == table else {
                throw .unsupported(
                    file: file.path,
                    "several different translation tables, the last at byte \(place.hex): a kernel that resumed "
                        + "another from hibernation leaves its own")
            }
            found = table
        }
        guard let found else {
            let reason = damaged.map { "; one place looks like one, but: \($0)" } ?? ""
            throw .unsupported(file: file.path, "no translation table of a permuted kernel in it\(reason)")
        }
        return found
    }

    /// Where the magic word stands next.
    private func next(from offset: Int) -> Int? {
        var magic = TableLookup.magic.littleEndian
        return unsafe file.bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, offset < bytes.count,
                let hit = unsafe memmem(base + offset, bytes.count - offset, &magic, 8)
            else { return nil }
            return unsafe UnsafeRawPointer(hit) - base
        }
    }
}
