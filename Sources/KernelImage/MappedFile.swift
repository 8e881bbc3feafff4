// SPDX-License-Identifier: MIT

// A file mapped read-only. Everything that reads an image reads it through this
// one handle: nothing is copied, and a 600 MB debug kernel opens at once.

import Addressing
public import Glibc

/// A read-only mapping of a whole file; unmapped and closed when it goes.
@safe
public struct MappedFile: ~Copyable {
    public let path: String
    /// The open file, for copies inside the kernel.
    public let descriptor: CInt
    public let byteCount: Int
    /// Permission bits, as `chmod` takes them.
    public let mode: mode_t
    let base: UnsafeRawPointer

    private init(path: String, descriptor: CInt, byteCount: Int, mode: mode_t, base: UnsafeRawPointer) {
        self.path = path
        self.descriptor = descriptor
        self.byteCount = byteCount
        self.mode = mode
        unsafe self.base = base
    }

    /// - Throws: `ImageError` of kind `.io` when the file cannot be opened, is empty or is no regular file.
    public static func open(_ path: String) throws(ImageError) -> MappedFile {
        try map(unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC), path)
    }

    /// Maps a file that is open already; the descriptor stays the caller's.
    ///
    /// - Throws: `ImageError` of kind `.io` as `open` does. `name` stands for the file in messages.
    public static func map(descriptor: CInt, name: String) throws(ImageError) -> MappedFile {
        try map(dup(descriptor), name)
    }

    private static func map(_ descriptor: CInt, _ path: String) throws(ImageError) -> MappedFile {
        guard descriptor >= 0 else {
            throw ImageError(.io, file: path, "cannot open: \(unsafe String(cString: strerror(errno)))")
        }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw ImageError(.io, file: path, "not a regular file")
        }
        let size = Int(status.st_size)
        guard size > 0 else {
            close(descriptor)
            throw ImageError(.notELF, file: path, "the file is empty")
        }
        guard let memory = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0), unsafe memory != MAP_FAILED
        else {
            let reason = unsafe String(cString: strerror(errno))
            close(descriptor)
            throw ImageError(.io, file: path, "cannot map: \(reason)")
        }
        return unsafe MappedFile(
            path: path, descriptor: descriptor, byteCount: size, mode: status.st_mode & 0o7777,
            base: UnsafeRawPointer(memory))
    }

    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe RawSpan(_unsafeStart: base, byteCount: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Parts of a range that the file system keeps data for: all of it where it knows no holes. Ascending.
    public func data(in range: Range<Int>) -> [Range<Int>] {
        var parts: [Range<Int>] = []
        var at = range.lowerBound
        while at < range.upperBound {
            let start = Int(lseek(descriptor, off_t(at), 3))  // SEEK_DATA
            if start < 0 { return errno == ENXIO ? parts : parts + [at..<range.upperBound] }
            let hole = Int(lseek(descriptor, off_t(start), 4))  // SEEK_HOLE
            at = hole < 0 ? range.upperBound : min(hole, range.upperBound)
            if start < at { parts.append(start..<at) }
        }
        return parts
    }

    /// Brings a range of the file into this mapping at once, for those about to read all of it.
    public func populate(_ range: Range<Int>) { advise(22, range) }  // MADV_POPULATE_READ

    /// Takes a range of the file out of this mapping; reading it brings it back.
    public func release(_ range: Range<Int>) { advise(MADV_DONTNEED, range) }

    private func advise(_ advice: CInt, _ range: Range<Int>) {
        let start = range.lowerBound & ~(pageSize - 1)
        _ = unsafe madvise(UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start, advice)
    }

    deinit {
        unsafe munmap(UnsafeMutableRawPointer(mutating: base), byteCount)
        close(descriptor)
    }
}

extension RawSpan {
    /// A little-endian number at a byte offset, which must lie inside.
    @inlinable @inline(__always)
    public func load<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as: T.Type) -> T {
        T(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
    }
}
