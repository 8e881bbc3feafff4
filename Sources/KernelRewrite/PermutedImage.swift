// SPDX-License-Identifier: MIT

// A permuted image, opened by what it says of itself: the note in its program
// headers, the table, the manifest. Nothing of it is believed before it has been
// checked: every offset against the file, the table against its checksum.

import Addressing
import Glibc
public import KernelImage
public import PagePermutation

/// An image that kperm made.
public struct PermutedImage: ~Copyable {
    /// The file as it is, with its own program headers.
    public let image: KernelImage
    public let table: TranslationTable
    public let manifest: Manifest
    let note: KpermNote

    /// Whether an image carries a note of ours.
    public static func isPermuted(_ image: borrowing KernelImage) -> Bool { findNote(image) != nil }

    private static func findNote(_ image: borrowing KernelImage) -> KpermNote? {
        image.notes().first { $0.owner == KpermNote.owner && $0.type == KpermNote.type }.flatMap {
            KpermNote(reading: image.file.bytes.extracting($0.descriptor))
        }
    }

    /// - Throws: `RewriteError.unsupported` when the image is not permuted, or damaged.
    public static func open(_ path: String) throws(RewriteError) -> PermutedImage {
        let image = try wrapping(RewriteError.image) { () throws(ImageError) in try KernelImage.open(path) }
        return try read(image)
    }

    /// - Throws: `RewriteError.unsupported` when the image is not permuted, or damaged.
    public static func read(_ image: consuming KernelImage) throws(RewriteError) -> PermutedImage {
        let path = image.path
        guard let note = findNote(image) else {
            throw .unsupported(file: path, "not a permuted image: it has no note of kperm's")
        }
        let (table, manifest) = try readParts(image, note)
        return PermutedImage(image: image, table: table, manifest: manifest, note: note)
    }

    private init(image: consuming KernelImage, table: TranslationTable, manifest: Manifest, note: KpermNote) {
        self.image = image
        self.table = table
        self.manifest = manifest
        self.note = note
    }

    private static func readParts(
        _ image: borrowing KernelImage, _ note: KpermNote
    ) throws(RewriteError) -> (TranslationTable, Manifest) {
        let path = image.path
        let size = UInt64(image.file.byteCount)
        for (offset, count, what) in [
            (note.tableOffset, note.tableBytes, "table"), (note.manifestOffset, note.manifestBytes, "manifest"),
            (0, note.originalBytes, "original"),
        ] {
            let (end, overflow) = offset.addingReportingOverflow(count)
            guard !overflow, end <= size else {
                throw .unsupported(
                    file: path, "damaged: the \(what) (\(offset.hex)+\(count.hex)) lies outside the file")
            }
        }
        let bytes = image.file.bytes
        let tableBytes = bytes.extracting(Int(note.tableOffset)..<Int(note.tableOffset + note.tableBytes))
        let table: TranslationTable
        do { table = try TranslationTable(reading: tableBytes) } catch { throw .table(file: path, error) }
        let text = (Int(note.manifestOffset)..<Int(note.manifestOffset + note.manifestBytes)).map {
            bytes.load($0, as: UInt8.self)
        }
        do {
            let manifest = try Manifest.decode(text)
            let places =
                manifest.patches.map { ($0.offset, $0.before.utf8.count / 2) }
                + manifest.displaced.map { ($0.offset, $0.bytes.utf8.count / 2) }
            let size = Int(note.originalBytes)
            for (offset, count) in places where offset < 0 || count > size || offset > size - count {
                throw RewriteError.unsupported(
                    file: path, "damaged: the manifest speaks of byte \(offset) of an original of \(size) bytes")
            }
            return (table, manifest)
        } catch let error as RewriteError {
            throw error
        } catch {
            throw .unsupported(file: path, "damaged: the manifest at byte \(note.manifestOffset.hex) does not parse")
        }
    }

    /// What was asked for when this image was made, for a fresh draw.
    ///
    /// - Throws: `RewriteError.unsupported` when the manifest is damaged.
    public func freshRequest() throws(RewriteError) -> Request {
        var request = try manifest.request(file: image.path)
        request.seedSource = "fresh"
        return request
    }

    /// Writes the original, bit for bit. Who may read this image may read that one.
    ///
    /// - Throws: `RewriteError` when the image is damaged or the file cannot be written.
    public func restore(to path: String) throws(RewriteError) {
        let output = try OutputFile.create(path, mode: image.file.mode, notOver: image.file)
        try restore(into: output)
        try output.commit()
    }

    /// The original, restored in memory.
    ///
    /// - Throws: `RewriteError` when the image is damaged.
    public func original() throws(RewriteError) -> KernelImage {
        let output = try OutputFile.inMemory(image.path)
        try restore(into: output)
        return try output.image()
    }

    private func restore(into output: borrowing OutputFile) throws(RewriteError) {
        let size = Int(note.originalBytes)
        if !output.share(image.file) { try output.copy(0..<size, of: image.file) }
        try output.truncate(to: size)
        if manifest.encoding == .contents {
            // The original's own program headers did not move; with its ELF header back they can be read.
            for patch in manifest.patches where patch.offset == 0 {
                try output.write(bytes(patch.before), at: 0)
            }
            let half = try output.image()
            let map = try wrapping(RewriteError.image) { () throws(ImageError) in
                try PageMap(
                    half, from: table.virtualBase,
                    to: table.virtualBase + UInt64(table.pageCount * pageSize))
            }
            for (page, frame) in table.forward.enumerated() where Int(frame) != page {
                let home = map.entries[page]
                let slot = map.entries[Int(frame)]
                guard home.fileBytes > 0, slot.fileBytes > 0 else { continue }
                guard slot.fileOffset + home.fileBytes <= image.file.byteCount else {
                    throw .unsupported(file: image.path, "damaged: frame \(frame) lies outside the file")
                }
                try output.write(
                    image.file.bytes.extracting(slot.fileOffset..<slot.fileOffset + home.fileBytes),
                    at: home.fileOffset)
            }
            for displaced in manifest.displaced { try output.write(bytes(displaced.bytes), at: displaced.offset) }
        }
        for patch in manifest.patches {
            try output.write(bytes(patch.before), at: patch.offset)
        }
        try output.truncate(to: size)
    }

    private func bytes(_ hexadecimal: String) throws(RewriteError) -> [UInt8] {
        guard let bytes = [UInt8](hexadecimal: hexadecimal) else {
            throw .unsupported(file: image.path, "damaged: bytes in the manifest are not hexadecimal")
        }
        return bytes
    }

    /// The 4096 bytes of a page as the running kernel sees them at its start: the original's, with what was changed.
    ///
    /// - Parameter original: what `original()` gave.
    public func contents(of page: Int, _ map: PageMap, original: borrowing KernelImage) -> [UInt8] {
        var contents = map.contents(of: page, in: original)
        let entry = map.entries[page]
        for patch in manifest.patches
        where patch.address != nil && patch.offset < entry.fileOffset + entry.fileBytes
            && entry.fileOffset < patch.offset + patch.after.utf8.count / 2
        {
            guard let after = [UInt8](hexadecimal: patch.after) else { continue }
            for (i, byte) in after.enumerated() {
                let at = patch.offset + i - entry.fileOffset
                if entry.fileBytes > 0, at >= 0, at < entry.fileBytes { contents[at] = byte }
            }
        }
        return contents
    }
}
