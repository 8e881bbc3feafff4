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
        if found == nil { found = try describedTable() }
        guard let found else {
            let reason = damaged.map { "; one place looks like one, but: \($0)" } ?? ""
            throw .unsupported(file: file.path, "no translation table of a permuted kernel in it\(reason)")
        }
        return found
    }

    /// The table of a flat riscv64 kernel, which has a descriptor.
    private func describedTable() throws(RewriteError) -> TranslationTable? {
        var found: [TranslationTable] = []
        var at = 0
        func bytes(_ start: Int, _ count: Int) -> [UInt8] {
            guard start >= 0, start + count <= file.byteCount else { return [] }
            return (start..<start + count).map { file.bytes.load($0, as: UInt8.self) }
        }
        while let place = next(ImageDescriptor.magic, from: at) {
            at = place + 8
            guard let says = ImageDescriptor(bytes(place, ImageDescriptor.byteCount)), says.state == .permuted,
                says.physicalBase.rawValue != 0
            else { continue }
            let image = place - says.place
            guard
                let order = try? says.order(
                    forward: bytes(image + says.forwardTable, 4 * says.capacity),
                    inverse: bytes(image + says.inverseTable, 4 * says.capacity)),
                let problem = try? PermutationProblem(
                    pageCount: says.pageCount, classes: [PageClass(name: "all", ranges: [0..<says.pageCount])]),
                let permutation = try? Permutation(forward: order, for: problem)
            else { continue }
            found.append(
                TranslationTable(
                    permutation, virtualBase: says.virtualBase, physicalBase: says.physicalBase, isBaked: false))
        }
        guard found.count <= 1 else {
            throw .unsupported(file: file.path, "\(found.count) descriptors of riscv64 kernels that run")
        }
        return found.first
    }

    /// Where the magic word stands next.
    private func next(_ magic: UInt64 = TableLookup.magic, from offset: Int) -> Int? {
        var magic = magic.littleEndian
        return unsafe file.bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, offset < bytes.count,
                let hit = unsafe memmem(base + offset, bytes.count - offset, &magic, 8)
            else { return nil }
            return unsafe UnsafeRawPointer(hit) - base
        }
    }
}
