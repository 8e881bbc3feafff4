// SPDX-License-Identifier: MIT

// The relocation lists of KASLR, which the kernel's build appends to the ELF and
// the decompressor reads backwards from the end: words of 32 bits, each list ended
// by a 0. In the file that is 0, 64-bit list, 0, inverse list, 0, 32-bit list. The
// inverse list went when per-CPU symbols became ordinary ones, and a 32-bit kernel
// has only the last list. So the zeros between the ELF's end and the payload's
// tell which lists there are, because no relocation has address 0.

public import Addressing

/// The words that the decompressor adjusts when it moves the kernel, ascending as in the file.
public struct KASLRRelocations: Equatable, Sendable {
    /// 32-bit words that hold an address's lower half: the slide is added.
    public let words32: [VirtualAddress]
    /// 32-bit words relative to what does not move: the slide is subtracted.
    public let inverse32: [VirtualAddress]
    /// 64-bit words that hold an address.
    public let words64: [VirtualAddress]
    /// How many lists the kernel has: 0 when it cannot move, 1 in a 32-bit kernel, 2 or (with the inverse one) 3.
    public let listCount: Int
    /// Each list ascending, which those of Linux are as they stand.
    private let ordered: [[VirtualAddress]]
    /// Where the ELF ends and the lists begin in the decoded payload, in bytes.
    public let start: Int

    /// - Parameters:
    ///   - decoded: what `BzImage.decode` gives.
    ///   - file: what messages call it; their offsets are in the decoded payload.
    /// - Throws: `ImageError` of kind `.malformed` when this is no ELF, when there are more or fewer lists than its class
    ///   can have, or when an entry leads outside what the ELF loads.
    public init(_ decoded: [UInt8], file: String) throws(ImageError) {
        let bytes = unsafe decoded.span.bytes
        let elf = try DecodedELF(bytes, file: file)
        start = elf.end
        func refuse(_ offset: Int, _ message: String) -> ImageError {
            ImageError(.malformed, file: file, offset: UInt64(offset), message)
        }
        let count = (bytes.byteCount - elf.end) / 4
        guard elf.end + count * 4 == bytes.byteCount else {
            throw refuse(
                elf.end, "\(bytes.byteCount - elf.end) bytes behind the ELF are no lists of 32-bit relocations")
        }
        var lists: [[VirtualAddress]] = []
        for index in 0..<count {
            let offset = elf.end + 4 * index
            let word = bytes.load(offset, as: UInt32.self)
            if word == 0 {
                lists.append([])
            } else if lists.isEmpty {
                throw refuse(offset, "no list of relocations begins where the ELF ends")
            } else {
                let address = elf.is64Bit ? UInt64(bitPattern: Int64(Int32(bitPattern: word))) : UInt64(word)
                lists[lists.count - 1].append(VirtualAddress(address))
            }
        }
        switch (elf.is64Bit, lists.count) {
        case (_, 0): (words32, inverse32, words64) = ([], [], [])
        case (false, 1): (words32, inverse32, words64) = (lists[0], [], [])
        case (true, 2): (words32, inverse32, words64) = (lists[1], [], lists[0])
        case (true, 3): (words32, inverse32, words64) = (lists[2], lists[1], lists[0])
        default:
            throw refuse(
                elf.end,
                "\(lists.count) lists of relocations follow the ELF, where \(elf.is64Bit ? "2 or 3" : "1") are expected"
            )
        }
        listCount = lists.count
        ordered = [words32, inverse32, words64].map { $0.isAscending ? $0 : $0.sorted() }
        for (words, size) in [(words32, 4), (inverse32, 4), (words64, 8)] {
            if let stray = words.first(where: { !elf.loads($0.rawValue, size) }) {
                throw refuse(elf.end, "a relocation at \(stray) lies outside what the ELF loads")
            }
        }
    }

    /// The relocated words that touch a range of addresses, in no order.
    public func words(in range: Range<VirtualAddress>) -> [VirtualAddress] {
        zip(ordered, [UInt64(4), 4, 8]).flatMap { list, size in
            let first = list.firstIndex(from: { $0 + size > range.lowerBound })
            return list[first...].prefix { $0 < range.upperBound }
        }
    }

    /// Where in the decoded payload the entry of one of `words32` lies, in bytes.
    public func entry(of word: VirtualAddress) -> Int? {
        let before = listCount == 1 ? 1 : words64.count + (listCount == 3 ? inverse32.count : 0) + listCount
        return words32.firstIndex(of: word).map { start + 4 * (before + $0) }
    }

    /// The lists as they lie behind the ELF.
    public var encoded: [UInt8] {
        let lists: [[VirtualAddress]] =
            switch listCount {
            case 0: []
            case 1: [words32]
            case 2: [words64, words32]
            default: [words64, inverse32, words32]
            }
        var bytes: [UInt8] = []
        for list in lists {
            bytes.append(little: 0)
            for address in list { bytes.append(little: UInt32(truncatingIfNeeded: address.rawValue)) }
        }
        return bytes
    }
}

extension [VirtualAddress] {
    fileprivate var isAscending: Bool { zip(self, dropFirst()).allSatisfy { $0 <= $1 } }

    /// The first of which a condition holds that holds of all behind it.
    fileprivate func firstIndex(from condition: (VirtualAddress) -> Bool) -> Int {
        var range = startIndex..<endIndex
        while !range.isEmpty {
            let middle = (range.lowerBound + range.upperBound) / 2
            range = condition(self[middle]) ? range.lowerBound..<middle : middle + 1..<range.upperBound
        }
        return range.lowerBound
    }
}

/// As much of an ELF as says where it ends and what it loads: the lists behind it are no part of it, so it is no
/// `KernelImage` yet.
private struct DecodedELF {
    let is64Bit: Bool
    /// Behind all headers, sections and segments, in bytes.
    let end: Int
    /// Virtual addresses of what segments bring from the file. The per-CPU segment is linked at 0 and relocated where
    /// it lies in the image, so these are physical addresses as the first segment maps them.
    private let loaded: [Range<UInt64>]

    init(_ bytes: RawSpan, file: String) throws(ImageError) {
        func refuse(_ offset: Int, _ message: String) -> ImageError {
            ImageError(.malformed, file: file, offset: UInt64(offset), "the decoded payload: \(message)")
        }
        guard bytes.byteCount >= 64, bytes.load(0, as: UInt32.self) == 0x464c_457f,
            [1, 2].contains(bytes.load(4, as: UInt8.self)), bytes.load(5, as: UInt8.self) == 1
        else { throw refuse(0, "not a little-endian ELF file") }
        let is64Bit = bytes.load(4, as: UInt8.self) == 2
        self.is64Bit = is64Bit
        var end = is64Bit ? 64 : 52
        func field(_ offset: Int) -> UInt64 {
            is64Bit ? bytes.load(offset, as: UInt64.self) : UInt64(bytes.load(offset, as: UInt32.self))
        }
        func cover(_ offset: UInt64, _ size: UInt64, _ place: Int, _ what: String) throws(ImageError) -> Int {
            let (sum, overflow) = offset.addingReportingOverflow(size)
            guard !overflow, sum <= UInt64(bytes.byteCount) else {
                throw refuse(place, "\(what) lies outside its \(bytes.byteCount) bytes")
            }
            end = max(end, Int(sum))
            return Int(offset)
        }
        func table(_ offset: Int, _ sizes: Int, _ least: Int, _ what: String) throws(ImageError) -> [Int] {
            let (size, count) = (bytes.load(sizes, as: UInt16.self), bytes.load(sizes + 2, as: UInt16.self))
            guard count > 0 else { return [] }
            guard size >= least else { throw refuse(sizes, "its \(what) headers are too small") }
            let start = try cover(field(offset), UInt64(size) * UInt64(count), offset, "the table of \(what) headers")
            return (0..<Int(count)).map { start + $0 * Int(size) }
        }
        var segments: [(physical: UInt64, virtual: UInt64, size: UInt64)] = []
        for (index, place) in try table(is64Bit ? 32 : 28, is64Bit ? 54 : 42, is64Bit ? 56 : 32, "program").enumerated()
        {
            let size = field(place + (is64Bit ? 32 : 16))
            let offset = field(place + (is64Bit ? 8 : 4))
            guard size > 0 else { continue }
            _ = try cover(offset, size, place, "segment \(index)")
            guard bytes.load(place, as: UInt32.self) == Segment.load else { continue }
            segments.append((field(place + (is64Bit ? 24 : 12)), field(place + (is64Bit ? 16 : 8)), size))
        }
        for (index, place) in try table(is64Bit ? 40 : 32, is64Bit ? 58 : 46, is64Bit ? 64 : 40, "section").enumerated()
        {
            let type = bytes.load(place + 4, as: UInt32.self)
            guard type != 0, type != 8 else { continue }
            _ = try cover(
                field(place + (is64Bit ? 24 : 16)), field(place + (is64Bit ? 32 : 20)), place, "section \(index)")
        }
        let slide = segments.first.map { $0.virtual &- $0.physical } ?? 0
        loaded = segments.compactMap {
            let start = $0.physical &+ slide
            let (end, overflow) = start.addingReportingOverflow($0.size)
            return overflow ? nil : start..<end
        }
        self.end = end
    }

    func loads(_ address: UInt64, _ size: Int) -> Bool {
        loaded.contains { $0.contains(address) && $0.upperBound - address >= UInt64(size) }
    }
}
