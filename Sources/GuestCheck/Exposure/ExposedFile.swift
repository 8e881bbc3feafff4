// SPDX-License-Identifier: MIT

// What came out of a guest that shows what it exposes: a compressed stream of
// files, each with who read it and how that went. images/guest/expose.c gives the
// form.

import CArchive
import Glibc

/// Whose eyes a file was read with.
public enum ExposureReader: String, Codable, CaseIterable, Sendable {
    /// Any user: no groups, no capabilities.
    case user
    case root
}

/// A file of the guest's, or what stands for one, as one reader saw it.
struct ExposedFile {
    let reader: ExposureReader
    let path: String
    /// Of the last step that failed: 0 when all was read.
    let error: Int32
    let bytes: ArraySlice<UInt8>

    /// Whether the reader got anything at all.
    var isOpen: Bool { error == 0 || !bytes.isEmpty }
}

/// Everything that was read, whole for both readers.
struct ExposedFiles {
    private(set) var files: [ExposedFile] = []

    /// - Throws: what is wrong with a stream that is not whole.
    init(parsing stream: [UInt8]) throws(ExposureFlaw) {
        var readers = ExposureReader.allCases.makeIterator()
        var reader: ExposureReader?
        var at = stream.startIndex
        while at < stream.endIndex {
            guard let end = stream[at...].firstIndex(of: UInt8(ascii: "\n")) else {
                throw ExposureFlaw("it ends in a line")
            }
            let fields = String(decoding: stream[at..<end], as: UTF8.self).split(
                separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 4, let error = Int32(fields[1]), let count = Int(fields[3]), count >= 0,
                stream.endIndex - end - 1 >= count
            else { throw ExposureFlaw("no file at byte \(at)") }
            let bytes = stream[(end + 1)..<(end + 1 + count)]
            at = end + 1 + count
            switch (String(fields[0]), reader) {
            case ("reading as", nil): reader = readers.next()
            case ("read", _?): reader = nil
            case (let path, let reader?):
                files.append(ExposedFile(reader: reader, path: path, error: error, bytes: bytes))
            case (let path, nil): throw ExposureFlaw("\(path): error \(error)")
            }
        }
        guard reader == nil, readers.next() == nil else { throw ExposureFlaw("it is not whole") }
    }
}

/// Why a guest's stream of files is none.
struct ExposureFlaw: Error, Equatable, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// All of a file that gzip packed.
func unpacked(_ path: String) throws(GuestError) -> [UInt8] {
    let archive = unsafe archive_read_new()
    defer { unsafe archive_read_free(archive) }
    var entry: OpaquePointer?
    unsafe archive_read_support_filter_gzip(archive)
    unsafe archive_read_support_format_raw(archive)
    func failure() -> GuestError {
        let words = unsafe archive_error_string(archive).map { unsafe String(cString: $0) } ?? "nothing in it"
        return .exposure("what the guest handed out cannot be unpacked: \(words)")
    }
    guard unsafe archive_read_open_filename(archive, path, 1 << 16) == ARCHIVE_OK,
        unsafe archive_read_next_header(archive, &entry) == ARCHIVE_OK
    else { throw failure() }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = unsafe archive_read_data(archive, &chunk, chunk.count)
        if count == 0 { return bytes }
        guard count > 0 else { throw failure() }
        bytes += chunk[..<count]
    }
}
