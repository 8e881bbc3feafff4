// SPDX-License-Identifier: MIT

// Memory in pages of 4 KB, or in pages of 2 MB where the machine gives them.
// What was got is not taken from what was asked for: /proc/self/smaps tells.

import Glibc

/// Memory of our own, filled once and then only read and executed.
@safe
struct HugeMemory: ~Copyable {
    enum PageBytes: Int {
        case small = 4096
        case large = 0x20_0000
    }

    /// By which the pages are what they are.
    enum Means: String {
        case hugetlb = "MAP_HUGETLB"
        case transparent = "MADV_HUGEPAGE"
        case none = "MADV_NOHUGEPAGE"
    }

    private let reserved: UnsafeMutableRawPointer
    private let reservedBytes: Int
    let base: UnsafeMutableRawPointer
    let byteCount: Int
    let means: Means

    /// Zeroed memory of at least so many bytes, whole pages of 2 MB; nil if the system has none of this kind.
    init?(byteCount: Int, pages: PageBytes) {
        let large = PageBytes.large.rawValue
        let size = (byteCount + large - 1) / large * large
        let access = PROT_READ | PROT_WRITE
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        if pages == .large {
            let memory = unsafe mmap(nil, size, access, flags | Self.hugetlb, -1, 0)
            if let memory = unsafe memory, unsafe memory != MAP_FAILED {
                unsafe (reserved, reservedBytes, base, self.byteCount) = (memory, size, memory, size)
                means = .hugetlb
                return
            }
        }
        let memory = unsafe mmap(nil, size + large, access, flags, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return nil }
        unsafe (reserved, reservedBytes, self.byteCount) = (memory, size + large, size)
        unsafe base = memory.alignedUp(toMultipleOf: large)
        means = pages == .large ? .transparent : .none
        unsafe madvise(base, size, pages == .large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)
    }

    /// MAP_HUGETLB | MAP_HUGE_2MB
    private static let hugetlb: CInt = 0x40000 | 21 << 26

    /// Nothing can be written from now on.
    func seal() -> Bool { unsafe mprotect(base, byteCount, PROT_READ | PROT_EXEC) == 0 }

    /// How many bytes of it lie in pages of 2 MB, as the kernel tells.
    func largeBytes() -> Int {
        guard let file = unsafe fopen("/proc/self/smaps", "r") else { return 0 }
        defer { unsafe fclose(file) }
        var line: UnsafeMutablePointer<CChar>?
        var room = 0
        defer { unsafe free(line) }
        var isOurs = false
        var kilobytes = 0
        while unsafe getline(&line, &room, file) > 0, let start = unsafe line {
            let words = unsafe String(cString: start).split { $0 == " " || $0 == "\n" }
            guard let first = words.first else { continue }
            let ends = first.split(separator: "-").map { UInt($0, radix: 16) }
            if ends.count == 2, let from = ends[0], let to = ends[1] {
                let here = UInt(bitPattern: unsafe base)
                isOurs = from < here + UInt(byteCount) && to > here
            } else if isOurs, words.count == 3, let number = Int(words[1]),
                first == "AnonHugePages:" || first == "Private_Hugetlb:"
            {
                kilobytes += number
            }
        }
        return kilobytes * 1024
    }

    deinit { unsafe munmap(reserved, reservedBytes) }
}
