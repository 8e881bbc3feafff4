// SPDX-License-Identifier: MIT

// Writing: into a nameless file beside the target, which gets its name when it
// is complete. An interrupted run leaves the old file, or none; the input is
// never touched. Unchanged bytes go from the input to the output inside the
// operating system, by sharing blocks where that is possible.

import CLinux
import Glibc
public import KernelImage

/// A file in the making; it vanishes unless `commit` names it.
@safe
struct OutputFile: ~Copyable {
    let path: String
    private let descriptor: CInt
    /// The name it has until it is complete, where the file system knows no nameless files.
    private let temporary: String?
    /// How many bytes are written at once, or a page more. File systems take as large a block of memory as a write
    /// fills, and blocks of 2 MB cost a guest up to twice the whole copy: its hypervisor has to find them first.
    private static let piece = 512 << 10

    /// - Throws: `RewriteError.output` when nothing can be written there.
    static func create(_ path: String, mode: mode_t, notOver input: borrowing MappedFile) throws(RewriteError)
        -> OutputFile
    {
        var target = stat()
        var source = stat()
        if unsafe stat(path, &target) == 0, unsafe fstat(input.descriptor, &source) == 0,
            source.st_dev == target.st_dev, source.st_ino == target.st_ino
        {
            throw .output(file: path, "is the input: kperm never writes its input; give another name")
        }
        return try create(path, mode: mode)
    }

    /// - Throws: `RewriteError.output` when nothing can be written there.
    static func create(_ path: String, mode: mode_t) throws(RewriteError) -> OutputFile {
        var target = stat()
        if unsafe stat(path, &target) == 0, target.st_mode & S_IFMT != S_IFREG {
            throw .output(file: path, "exists and is not a regular file")
        }
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let nameless = unsafe open(directory, open_nameless | O_RDWR | O_CLOEXEC, mode)
        if nameless >= 0 { return OutputFile(path: path, descriptor: nameless, temporary: nil) }
        let name = "\(path).\(getpid()).partial"
        let named = unsafe open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode)
        guard named >= 0 else {
            throw .output(file: path, "cannot create: \(unsafe String(cString: strerror(errno)))")
        }
        return OutputFile(path: path, descriptor: named, temporary: name)
    }

    /// A file in memory that never gets a name; `image` reads it back.
    static func inMemory(_ name: String) throws(RewriteError) -> OutputFile {
        let descriptor = unsafe memfd_create("kperm", 1)  // MFD_CLOEXEC
        guard descriptor >= 0 else {
            throw .output(file: name, "no memory file: \(unsafe String(cString: strerror(errno)))")
        }
        return OutputFile(path: name, descriptor: descriptor, temporary: nil)
    }

    /// What has been written so far, as an image.
    func image() throws(RewriteError) -> KernelImage {
        try wrapping(RewriteError.image) { () throws(ImageError) in
            try KernelImage(MappedFile.map(descriptor: descriptor, name: path))
        }
    }

    private func failure(_ doing: String) -> RewriteError {
        .output(file: path, "cannot \(doing): \(unsafe String(cString: strerror(errno)))")
    }

    /// Takes over all of the input's bytes without copying them. False where the file system shares no blocks.
    func share(_ input: borrowing MappedFile) -> Bool { clone_file(descriptor, input.descriptor) == 0 }

    /// Copies a range of the input to the same place of a file that has nothing there yet: what is zero stays a hole.
    /// One write from a mapping costs two thirds of `copy_file_range`.
    func copy(_ range: Range<Int>, of input: borrowing MappedFile) throws(RewriteError) {
        let step = 64 << 20
        for extent in input.data(in: range) {
            for start in stride(from: extent.lowerBound, to: extent.upperBound, by: step) {
                let part = start..<min(start + step, extent.upperBound)
                // Looking for zeros brings the input into the mapping, a page fault for each block.
                for run in input.bytes.withoutZeros(part) {
                    try allocate(run)
                    try write(input.bytes.extracting(run), at: run.lowerBound)
                }
                input.release(part)
            }
        }
    }

    func write(_ bytes: RawSpan, at offset: Int) throws(RewriteError) {
        var done = 0
        while done < bytes.byteCount {
            let piece = done..<min(done + Self.piece, bytes.byteCount)
            let count = unsafe bytes.extracting(piece).withUnsafeBytes {
                unsafe pwrite(descriptor, $0.baseAddress, $0.count, off_t(offset + done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("write") }
            done += count
        }
    }

    func write(_ bytes: [UInt8], at offset: Int) throws(RewriteError) {
        unsafe try write(bytes.span.bytes, at: offset)
    }

    /// Writes pieces that follow one another in the file, gathered from anywhere in the input.
    func gather(_ pieces: [Range<Int>], of input: borrowing MappedFile, at offset: Int) throws(RewriteError) {
        var at = offset
        var first = 0
        if !pieces.isEmpty { try allocate(offset..<pieces.reduce(offset) { $0 + $1.count }) }
        while first < pieces.count {
            var end = first
            var total = 0
            while end < pieces.count, end < first + 1024, total < Self.piece {
                total += pieces[end].count
                end += 1
            }
            let batch = pieces[first..<end]
            let written = unsafe input.bytes.withUnsafeBytes { source in
                let vectors = unsafe batch.map { piece in
                    unsafe iovec(
                        iov_base: source.baseAddress.map {
                            unsafe UnsafeMutableRawPointer(mutating: $0 + piece.lowerBound)
                        }, iov_len: piece.count)
                }
                return unsafe pwritev(descriptor, vectors, CInt(vectors.count), off_t(at))
            }
            guard written == total else {
                if written >= 0 { errno = ENOSPC }
                throw failure("write")
            }
            at += total
            first += batch.count
        }
    }

    /// Takes room on the disk for bytes that will be written: that saves a third of filling it.
    private func allocate(_ range: Range<Int>) throws(RewriteError) {
        let status = posix_fallocate(descriptor, off_t(range.lowerBound), off_t(range.count))
        guard status == ENOSPC || status == EFBIG else { return }
        errno = status
        throw failure("write")
    }

    func truncate(to size: Int) throws(RewriteError) {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw failure("write") }
    }

    /// Gives the file its name, in place of what had it.
    consuming func commit() throws(RewriteError) {
        let name = temporary ?? "\(path).\(getpid()).partial"
        if temporary == nil {
            unsafe unlink(name)
            let source = "/proc/self/fd/\(descriptor)"
            guard unsafe linkat(AT_FDCWD, source, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 else {
                throw failure("name the output")
            }
        }
        guard unsafe rename(name, path) == 0 else {
            let error = failure("name the output")
            unsafe unlink(name)
            throw error
        }
    }

    deinit {
        close(descriptor)
        // After a commit the name is gone and this does nothing.
        if let temporary { unsafe unlink(temporary) }
    }
}

/// Writes a secret to a new place of the tool's own: readable by its owner only.
///
/// - Throws: `RewriteError.output` when the file cannot be written.
public func writeSecret(_ bytes: [UInt8], to path: String) throws(RewriteError) {
    let output = try OutputFile.create(path, mode: 0o600)
    try output.write(bytes, at: 0)
    try output.commit()
}

/// Writes a whole image that was made in memory, never over the one it was made from: a secret is readable by its owner
/// only, others as the input is.
///
/// - Throws: `RewriteError.output` when the file cannot be written.
public func writeImage(
    _ bytes: [UInt8], to path: String, notOver input: borrowing MappedFile, isSecret: Bool
) throws(RewriteError) {
    let output = try OutputFile.create(path, mode: isSecret ? 0o600 : input.mode, notOver: input)
    try output.write(bytes, at: 0)
    try output.commit()
}

/// Writes a secret that was derived from an image: readable by its owner only, never over the image.
///
/// - Throws: `RewriteError.output` when the file cannot be written.
public func writeSecret(_ bytes: [UInt8], to path: String, notOver input: borrowing MappedFile) throws(RewriteError) {
    let output = try OutputFile.create(path, mode: 0o600, notOver: input)
    try output.write(bytes, at: 0)
    try output.commit()
}

extension RawSpan {
    /// What of a range is not zero, in blocks of 64 KiB so that a file is not written in crumbs; ascending, merged.
    fileprivate func withoutZeros(_ range: Range<Int>) -> [Range<Int>] {
        let size = 64 << 10
        var runs: [Range<Int>] = []
        for start in stride(from: range.lowerBound, to: range.upperBound, by: size) {
            let block = start..<min(start + size, range.upperBound)
            if isZero(block) { continue }
            if let last = runs.last, last.upperBound == start {
                runs[runs.count - 1] = last.lowerBound..<block.upperBound
            } else {
                runs.append(block)
            }
        }
        return runs
    }

    private func isZero(_ range: Range<Int>) -> Bool {
        guard range.count > 8, load(range.lowerBound, as: UInt64.self) == 0 else { return false }
        return unsafe extracting(range).withUnsafeBytes { block in
            guard let start = block.baseAddress else { return true }
            return unsafe memcmp(start, start + 8, block.count - 8) == 0
        }
    }
}
