// SPDX-License-Identifier: MIT

// The guest's memory, seen from outside. It lives in a shared file that kperm
// makes, unlinks at once, and QEMU opens through /proc: no name is left behind
// and the file is gone with its last user. Guest physical addresses are not
// offsets in it: there is a hole below 4 GB, and firmware covers a part of the
// first megabyte.

import Addressing
import CLinux
import Glibc

/// Where QEMU puts the RAM file in the guest's physical address space.
struct MemoryMap: Equatable {
    struct Piece: Equatable {
        var guest: Range<UInt64>
        var offset: UInt64
    }

    var pieces: [Piece]

    init(pieces: [Piece]) { self.pieces = pieces }

    /// The guest physical address of an offset in the RAM file, or nil where the guest has none.
    func address(ofOffset offset: Int) -> PhysicalAddress? {
        for piece in pieces where UInt64(offset) >= piece.offset {
            let address = piece.guest.lowerBound + (UInt64(offset) - piece.offset)
            if piece.guest.contains(address) { return PhysicalAddress(address) }
        }
        return nil
    }

    /// Reads the flat view of the address space "memory" out of `info mtree -f`.
    init(parsing text: String, block: String) {
        pieces = []
        var inside = false
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(separator: " ")
            if line.hasPrefix("FlatView") { inside = false }
            if words.starts(with: ["AS", "\"memory\","]) { inside = true }
            guard inside, let colon = words.firstIndex(of: "ram):"), colon + 1 < words.count, words[colon + 1] == block
            else { continue }
            let bounds = words[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            guard bounds.count == 2, bounds[0] <= bounds[1] else { continue }
            let offset = words.count > colon + 2 ? UInt64(words[colon + 2].dropFirst(), radix: 16) : 0
            guard let offset else { continue }
            pieces.append(Piece(guest: bounds[0]..<bounds[1] + 1, offset: offset))
        }
    }

    /// The offset in the RAM file of `count` bytes at a guest physical address.
    func offset(of address: PhysicalAddress, count: Int) -> Int? {
        for piece in pieces where piece.guest.contains(address.rawValue) {
            guard piece.guest.upperBound - address.rawValue >= UInt64(count) else { return nil }
            return Int(address.rawValue - piece.guest.lowerBound + piece.offset)
        }
        return nil
    }
}

/// The RAM file, mapped for reading.
@safe struct GuestMemory: ~Copyable {
    /// SEEK_DATA and SEEK_HOLE of lseek(2), which Glibc's module lacks.
    private static let seekData: Int32 = 3
    private static let seekHole: Int32 = 4

    private let descriptor: Int32
    private let base: UnsafeMutableRawPointer
    /// In bytes.
    let size: Int
    var map = MemoryMap(pieces: [])

    /// - Parameter size: in bytes.
    init(size: Int) throws(GuestError) {
        let base = Self.hasRoom("/dev/shm", for: size) ? "/dev/shm" : temporaryBase
        var template = Array("\(base)/kperm-XXXXXX".utf8CString)
        descriptor = unsafe mkstemp(&template)
        guard descriptor >= 0, unsafe unlink(template) == 0, ftruncate(descriptor, size) == 0 else {
            throw .system(operation: "make guest memory", path: base, errno: errno)
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        let mapping = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0)
        guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else {
            throw .system(operation: "map guest memory", path: base, errno: errno)
        }
        unsafe self.base = mapping
        self.size = size
    }

    /// A copy of a guest's memory in a file, to be read only.
    init(reading path: String) throws(GuestError) {
        let opened = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard opened >= 0 else { throw .system(operation: "open", path: path, errno: errno) }
        let length = lseek(opened, 0, SEEK_END)
        let mapping = unsafe mmap(nil, length, PROT_READ, MAP_SHARED, opened, 0)
        guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else {
            let code = errno
            close(opened)
            throw .system(operation: "map", path: path, errno: code)
        }
        descriptor = opened
        size = length
        unsafe base = mapping
    }

    deinit {
        unsafe munmap(base, size)
        close(descriptor)
    }

    /// Whether a file system (in memory, so that the guest's writes do not go to a disk) can take the whole of it.
    private static func hasRoom(_ path: String, for size: Int) -> Bool {
        var status = statvfs()
        return unsafe statvfs(path, &status) == 0 && Int(status.f_bavail) * Int(status.f_frsize) > size
    }

    /// How another process opens the file.
    var path: String { "/proc/\(getpid())/fd/\(descriptor)" }

    /// `count` bytes at a guest physical address, or nil where there is no RAM.
    func bytes(at address: PhysicalAddress, count: Int) -> [UInt8]? {
        guard let offset = map.offset(of: address, count: count), offset + count <= size else { return nil }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: base + offset, count: count))
    }

    /// `count` bytes at an offset in the RAM file, or nil beyond its end.
    func bytes(atOffset offset: Int, count: Int) -> [UInt8]? {
        guard offset >= 0, count >= 0, offset <= size - count else { return nil }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: base + offset, count: count))
    }

    /// The parts of the RAM file that something was written to. Its holes are left out, because to read them through the
    /// mapping is to fill them.
    private var written: [Range<Int>] {
        var found: [Range<Int>] = []
        var end = 0
        while end < size {
            let start = lseek(descriptor, end, Self.seekData)
            guard start >= 0 else { break }
            let hole = lseek(descriptor, start, Self.seekHole)
            end = hole > start ? min(hole, size) : size
            found.append(start..<end)
        }
        return found
    }

    /// Offsets in the RAM file of the pages that begin with `word` (not zero).
    func pages(beginningWith word: UInt64) -> [Int] {
        var found: [Int] = []
        for part in written {
            for offset in stride(from: part.lowerBound & ~(pageSize - 1), to: part.upperBound, by: pageSize) {
                if unsafe base.load(fromByteOffset: offset, as: UInt64.self) == word { found.append(offset) }
            }
        }
        return found
    }

    /// Offsets in the RAM file at which `bytes` (not empty) begin.
    func offsets(of bytes: [UInt8]) -> [Int] {
        var found: [Int] = []
        for part in written {
            var start = part.lowerBound
            while let place = unsafe memmem(base + start, part.upperBound - start, bytes, bytes.count) {
                let offset = unsafe UnsafeRawPointer(base).distance(to: UnsafeRawPointer(place))
                found.append(offset)
                start = offset + 1
            }
        }
        return found
    }

    /// An aligned 64-bit word, or nil where there is no RAM.
    func word(at address: PhysicalAddress) -> UInt64? {
        guard let offset = map.offset(of: address, count: 8), offset + 8 <= size else { return nil }
        return unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// Whether a page of RAM holds exactly `expected`; nil where there is no RAM.
    func holds(_ expected: [UInt8], at address: PhysicalAddress) -> Bool? {
        guard let offset = map.offset(of: address, count: expected.count), offset + expected.count <= size else {
            return nil
        }
        return unsafe expected.withUnsafeBytes { wanted in
            guard let start = wanted.baseAddress else { return true }
            return unsafe memcmp(start, base + offset, wanted.count) == 0
        }
    }

    /// Writes into the file itself: the mapping is for reading only.
    func write(_ bytes: [UInt8], atOffset offset: Int) {
        _ = unsafe bytes.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, offset) }
    }
}
